"""Who gets nothing: wrong certificates at TLS, strangers with 401, KMEs and nodes in each other's place."""

import ssl
from pathlib import Path

import httpx
import pytest

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.client import Etsi014Link

from .certificates import Leaf, TestAuthority
from .kme_network import KmeNetwork

ENC, DEC = "/api/v1/keys/node-2/enc_keys", "/api/v1/keys/node-1/dec_keys"


def link_with(network: KmeNetwork, leaf: Leaf, identity: str | None = None) -> Etsi014Link:
    return Etsi014Link(
        kme_id="kme-1",
        url=network.url("kme-1"),
        local_sae="node-1",
        peer_sae="node-2",
        ca=leaf.ca,
        certificate=leaf.certificate,
        private_key=leaf.private_key,
        kme_identity=identity,
    )


@pytest.mark.parametrize("flaw", ["expired", "other CA"])
async def test_a_wrong_client_certificate_gets_nothing(quiet_pair: KmeNetwork, tmp_path: Path, flaw: str) -> None:
    if flaw == "expired":
        leaf = quiet_pair.authority.issue("node", "node-1", expired=True)
    else:
        leaf = TestAuthority(tmp_path / "other").issue("node", "node-1", trusting=quiet_pair.authority.ca)
    link = link_with(quiet_pair, leaf)
    with pytest.raises(LinkError, match="kme-1") as caught:
        await link.draw()
    assert caught.value.code == "KME_UNAUTHORIZED"
    await link.close()


async def test_a_kme_of_another_ca_is_not_believed(quiet_pair: KmeNetwork, tmp_path: Path) -> None:
    link = link_with(quiet_pair, TestAuthority(tmp_path / "other").issue("node", "node-1"))
    with pytest.raises(LinkError, match="kme-1") as caught:
        await link.draw()
    assert caught.value.code == "KME_UNAUTHORIZED"
    await link.close()


async def test_a_kme_of_another_name_is_not_believed(quiet_pair: KmeNetwork) -> None:
    link = link_with(quiet_pair, quiet_pair.node("kme-1"), "spiffe://qkms.dev/kme/kme-9")
    with pytest.raises(LinkError, match="kme-9") as caught:
        await link.draw()
    assert caught.value.code == "KME_UNAUTHORIZED"
    await link.close()


@pytest.mark.parametrize("face", ["sae", "link"])
def test_without_a_certificate_no_face_answers(quiet_pair: KmeNetwork, face: str) -> None:
    base = quiet_pair.url("kme-1") if face == "sae" else quiet_pair.link_url("kme-1")
    context = ssl.create_default_context(cafile=str(quiet_pair.authority.ca))
    with httpx.Client(verify=context, trust_env=False) as http, pytest.raises(httpx.TransportError):
        http.get(f"{base}/api/v1/keys/node-2/status")


@pytest.mark.parametrize("path", [ENC, DEC, "/api/v1/keys/node-2/status"])
@pytest.mark.parametrize("stranger", ["node-7", "node-2"])
def test_an_sae_of_nowhere_or_of_another_kme_gets_a_bare_401(
    quiet_pair: KmeNetwork, path: str, stranger: str
) -> None:
    leaf = quiet_pair.authority.issue("node", stranger)
    with quiet_pair.http(leaf, quiet_pair.url("kme-1")) as http:
        answer = http.get(path)
    assert (answer.status_code, answer.content) == (401, b"")


def test_only_the_named_slave_may_collect(tmp_path: Path) -> None:
    network = KmeNetwork(tmp_path, 3)
    extra = '[[saes]]\nid = "node-2b"\nkme = "kme-2"\n[[saes]]\nid = "node-1b"\nkme = "kme-1"\n'
    for kme in network.names:
        text = network.config(kme).read_text()
        network.config(kme).write_text(text.replace("[[saes]]", extra + "[[saes]]", 1))
    try:
        network.start()
        network.wait_stored("kme-1", "kme-2", 1)
        with network.http(network.node("kme-1"), network.url("kme-1")) as http:
            [key] = http.post(ENC, json={}).json()["keys"]
        query = {"key_ID": key["key_ID"]}
        neighbour = network.authority.issue("node", "node-2b")
        with network.http(neighbour, network.url("kme-2")) as http:
            not_named = http.get(DEC, params=query)
        with network.http(network.node("kme-2"), network.url("kme-2")) as http:
            wrong_master = http.get("/api/v1/keys/node-1b/dec_keys", params=query)
            right = http.get(DEC, params=query)
        with network.http(network.node("kme-3"), network.url("kme-3")) as http:
            elsewhere = http.get(DEC, params=query)
    finally:
        network.stop_all()
    assert (not_named.status_code, not_named.content) == (401, b"")
    assert (wrong_master.status_code, wrong_master.content) == (401, b"")
    assert right.json()["keys"][0]["key"] == key["key"]
    assert elsewhere.status_code == 400


@pytest.mark.parametrize("operation", ["hello", "offer", "assign", "discard", "faults"])
@pytest.mark.parametrize(
    "stranger", [("node", "node-2"), ("kme", "kme-9"), ("operator", "admin"), ("node", "kme-2")]
)
def test_the_link_face_knows_its_peer_only(
    quiet_pair: KmeNetwork, operation: str, stranger: tuple[str, str]
) -> None:
    leaf = quiet_pair.authority.issue(*stranger)
    with quiet_pair.http(leaf, quiet_pair.link_url("kme-1")) as http:
        answer = http.post(f"/link/v1/{operation}", json={})
    assert (answer.status_code, answer.content) == (403, b"")


def test_a_peer_cannot_draw_in_the_name_of_anothers_sae(quiet_pair: KmeNetwork) -> None:
    leaf = quiet_pair.authority.issue("kme", "kme-2")
    demand = {"master": "node-1", "slave": "node-1", "size_bits": 256, "deliveries": []}
    with quiet_pair.http(leaf, quiet_pair.link_url("kme-1")) as http:
        assert http.post("/link/v1/assign", json=demand).status_code == 403


@pytest.mark.parametrize("stranger", [("node", "node-1"), ("operator", "guest"), ("kme", "kme-2")])
def test_the_admin_face_is_for_administrators(quiet_pair: KmeNetwork, stranger: tuple[str, str]) -> None:
    with quiet_pair.http(quiet_pair.authority.issue(*stranger), quiet_pair.url("kme-1")) as http:
        assert http.get("/admin/v1/links").status_code == 403
        assert http.put("/admin/v1/links/kme-2/faults", json={"cut": True}).status_code == 403
        assert http.get("/admin/v1/faults").status_code == 403
        assert http.put("/admin/v1/faults", json={"wrong_key": True}).status_code == 403
    assert quiet_pair.admin_links("kme-1")["kme-2"]["faults"]["cut"] is False
    assert quiet_pair.kme_faults("kme-1")["wrong_key"] is False
