"""The northbound faces of one real node: grades, room, audit, counts, identities, renewed certificates."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_node import LocalNode, local_node
from qkms.v1 import audit_pb2, audit_pb2_grpc
from qkms_chaos.cluster.northbound import Answer, Encryptor
from qkms_chaos.cluster.ports import free_ports
from qkms_node.config_quantum import FaceSection, NorthboundSection
from qkms_node.config_sections import MetricsSection, Rule
from qkms_node.pki import Authority, Identity
from qkms_node.service.sae_keys import pair_name
from qkms_node.tls_files import replace_pair
from qkms_qkd.tls import TlsFiles, client_context

A, B = "sae:a", "sae:b"
NODE = "node-1"
NOT_FOUND = "one or more keys specified are not found on KME"
PAIRS = Rule(
    principals=("spiffe://qkms.dev/sae/*",),
    actions=("northbound.draw", "northbound.collect", "northbound.entropy"),
    keys=(f"saePairs/{A}/{B}",),
)


@dataclass
class Served:
    """A node and two encryptors."""

    node: LocalNode
    a: Encryptor
    b: Encryptor
    url: str
    skip_url: str
    metrics: str

    async def scrape(self) -> str:
        return (await asyncio.to_thread(httpx.get, f"http://{self.metrics}/metrics", timeout=10)).text


SERVICES = Rule(principals=("spiffe://qkms.dev/service/*",), actions=("*",))


@asynccontextmanager
async def serving(
    folder: Path, rules: tuple[Rule, ...] = (PAIRS, SERVICES), saes: tuple[str, ...] = (A, B), **fields: Any
) -> AsyncIterator[Served]:
    etsi014, skip, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    section = NorthboundSection(
        saes=saes, etsi014=FaceSection(listen=etsi014), skip=FaceSection(listen=skip), **fields
    )
    counted = MetricsSection(listen=metrics)
    async with local_node(folder, rules, northbound=section, metrics=counted) as node:
        await node.node.wait_root()
        urls = {NODE: f"https://{etsi014}"}
        async with Encryptor(A, urls, node.authority) as a, Encryptor(B, urls, node.authority) as b:
            yield Served(node, a, b, urls[NODE], f"https://{skip}", metrics)


def http(encryptor: Encryptor) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=client_context(encryptor.files), trust_env=False)


async def until_room(served: Served) -> Answer:
    for _ in range(500):
        drawn = await served.a.draw(NODE, B, number=2)
        if drawn.status == 200:
            return drawn
        assert drawn.said == "SAE_KEYS_WAITING"
        await asyncio.sleep(0.02)
    raise AssertionError("the expired keys made no room within 10 s")


async def test_a_lower_grade_is_said_and_expired_keys_make_room(tmp_path: Path) -> None:
    async with serving(tmp_path, max_waiting=2, max_uncollected_ms=1_000) as served:
        unmet = await served.a.draw(NODE, B, extension_mandatory=[{"qkms_grade": "QKD+PQC"}])
        assert (unmet.status, unmet.said) == (400, "not all extension_mandatory request options could be met")
        drawn = await served.a.draw(NODE, B, number=2)
        assert drawn.body["key_container_extension"] == {"grade": "PQC", "root_epoch": 1}
        full = await served.a.draw(NODE, B)
        assert (full.status, full.said) == (503, "SAE_KEYS_WAITING")
        assert (await served.a.status(NODE, B)).body["stored_key_count"] == 0
        again = await until_room(served)
        late = await served.b.collect(NODE, A, *drawn.keys)
        assert (late.status, late.said) == (400, NOT_FOUND)
        assert (await served.b.collect(NODE, A, *again.keys)).keys == again.keys


async def test_a_key_drawn_over_one_protocol_is_collected_over_the_other_and_then_over_neither(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as served, http(served.b) as skip:
        [(key_id, key)] = (await served.a.draw(NODE, B)).keys.items()
        url = f"{served.skip_url}/key/{key_id.replace('-', '').upper()}"
        collected = (await skip.get(url, params={"remoteSystemID": A})).json()
        assert bytes.fromhex(collected["key"]) == key
        assert (await skip.get(url, params={"remoteSystemID": A})).status_code == 400
        assert (await served.b.collect(NODE, A, key_id)).said == NOT_FOUND
        told = (await skip.get(f"{served.skip_url}/capabilities")).json()
        assert (told["localSystemID"], told["remoteSystemID"], told["algorithm"]) == (B, [A], "QKMS")


async def test_an_sae_may_be_named_by_its_uri(tmp_path: Path) -> None:
    a, b = (f"spiffe://qkms.dev/sae/{name}" for name in "ab")
    pair = Rule(principals=(a, b), actions=("northbound.*",), keys=(pair_name(a, b),))
    async with serving(tmp_path, (pair,), saes=("spiffe://qkms.dev/sae/*",), sae_identity="san_uri") as served:
        drawn = await served.a.draw(NODE, b)
        assert (await served.b.collect(NODE, a, *drawn.keys)).keys == drawn.keys
        assert (await served.b.draw(NODE, a)).status == 401
        assert (await served.a.draw(NODE, "sae:b")).status == 400
        async with http(served.a) as skip:
            told = (await skip.get(f"{served.skip_url}/capabilities")).json()
    assert (told["localSystemID"], told["remoteSystemID"]) == (a, ["spiffe://qkms.dev/sae/*"])


async def test_whoever_is_no_sae_here_gets_401_without_a_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for name in ("c", "unheard of"):
            files = served.node.authority.issue(Identity("sae", name))
            context = client_context(TlsFiles(files.ca, files.certificate, files.private_key))
            async with httpx.AsyncClient(verify=context, trust_env=False) as stranger:
                for url in (f"{served.url}/api/v1/keys/{B}/enc_keys", f"{served.skip_url}/capabilities"):
                    answer = await stranger.get(url)
                    assert (answer.status_code, answer.content) == (401, b"")
        other = Authority(tmp_path / "other").issue(Identity("sae", "a"))
        pretender = client_context(TlsFiles(served.a.files.ca, other.certificate, other.private_key))
        async with httpx.AsyncClient(verify=pretender, trust_env=False) as stranger:
            with pytest.raises(httpx.HTTPError):
                await stranger.get(f"{served.url}/api/v1/keys/{B}/enc_keys")


async def test_a_draw_without_its_audit_record_is_withheld_and_the_next_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as served:
        first = await served.a.draw(NODE, B)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            withheld = await served.b.collect(NODE, A, *first.keys)
            assert (withheld.status, withheld.said) == (503, "AUDIT_UNAVAILABLE")
            applied = served.node.replica.status().applied_index
            refused = await served.a.draw(NODE, B)
            assert (refused.status, refused.said) == (503, "AUDIT_UNAVAILABLE")
            assert served.node.replica.status().applied_index == applied
        for _ in range(500):
            late = await served.b.collect(NODE, A, *first.keys)
            if late.status != 503:
                break
            await asyncio.sleep(0.02)
        assert (late.status, late.said) == (400, NOT_FOUND), "it was consumed, and stays so"


async def test_every_request_has_its_audit_record_with_the_decision(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        drawn = await served.a.draw(NODE, B)
        await served.b.draw(NODE, A)
        await served.a.draw(NODE, B, size=100)
        await served.b.collect(NODE, A, *drawn.keys)
        folder = tmp_path / "data" / "audit"
        lines = [
            json.loads(line) for path in sorted(folder.glob("calls-*")) for line in path.read_bytes().splitlines()
        ]
        async with served.node.channel() as channel:
            verified = await audit_pb2_grpc.AuditServiceStub(channel).VerifyAudit(audit_pb2.VerifyAuditRequest())
    told = [line for line in lines if str(line.get("method", "")).startswith("northbound/")]
    assert [(r["method"], r["code"], r["principal"][-5:]) for r in told] == [
        ("northbound/etsi014.draw", "OK", "sae/a"),
        ("northbound/etsi014.draw", "PERMISSION_DENIED", "sae/b"),
        ("northbound/etsi014.draw", "REQUEST_REFUSED", "sae/a"),
        ("northbound/etsi014.collect", "OK", "sae/b"),
    ]
    assert told[0]["resource"] == f"saePairs/{A}/{B}"
    assert told[0]["decisions"][0][:3] == ["northbound.draw", f"saePairs/{A}/{B}", True]
    assert told[1]["decisions"][0][:3] == ["northbound.draw", f"saePairs/{B}/{A}", False]
    assert all(verdict.intact for verdict in verified.verdicts)


async def test_draws_collections_and_refusals_are_counted_by_protocol(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, http(served.a) as skip:
        drawn = await served.a.draw(NODE, B, number=2)
        await served.b.collect(NODE, A, next(iter(drawn.keys)))
        await served.b.draw(NODE, A)
        await skip.get(f"{served.skip_url}/key", params={"remoteSystemID": "nobody"})
        await skip.get(f"{served.skip_url}/nothing")
        text = await served.scrape()
    for labels in (
        'code="OK",operation="draw",protocol="etsi014"',
        'code="OK",operation="collect",protocol="etsi014"',
        'code="PERMISSION_DENIED",operation="draw",protocol="etsi014"',
        'code="REQUEST_REFUSED",operation="draw",protocol="skip"',
        'code="HTTP_404",operation="none",protocol="skip"',
    ):
        assert f"qkms_northbound_requests_total{{{labels}}} 1.0" in text
    assert "qkms_sae_keys 1.0" in text


async def test_a_renewed_certificate_is_shown_with_the_next_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        tls = served.node.config.tls
        before = tls.certificate.read_bytes()
        now = datetime.now(UTC)
        aside = Authority(tmp_path / "pki").issue(
            Identity("node", "node-renewed"), not_before=now, not_after=now + timedelta(days=1)
        )
        shown = await asyncio.to_thread(certificate_at, served)
        assert shown == ssl.PEM_cert_to_DER_cert(before.decode())
        tls.certificate.write_bytes(aside.certificate.read_bytes())  # half-way: the key is still the old one
        assert await asyncio.to_thread(certificate_at, served) == shown
        tls.certificate.write_bytes(before)
        replace_pair(tls, aside.certificate.read_bytes(), aside.private_key.read_bytes())
        renewed = await asyncio.to_thread(certificate_at, served)
        assert renewed == ssl.PEM_cert_to_DER_cert(aside.certificate.read_text())


def certificate_at(served: Served) -> bytes:
    """What the listener shows, as DER."""
    host, port = served.url.removeprefix("https://").split(":")
    context = client_context(served.a.files)
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


async def test_without_a_quorum_nothing_is_given_out_and_nothing_consumed(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, http(served.a) as raw:
        drawn = await served.a.draw(NODE, B)
        served.node.replica.cut()
        refused = [await served.a.draw(NODE, B), await served.b.collect(NODE, A, *drawn.keys)]
        refused += [await served.b.collect(NODE, A, "00000000-0000-4000-8000-000000000000")]
        assert [(answer.status, answer.said) for answer in refused] == [(503, "NO_QUORUM")] * 3
        answer = await raw.get(f"{served.url}/api/v1/keys/{B}/enc_keys")
        assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
        served.node.replica.heal()
        assert (await served.b.collect(NODE, A, *drawn.keys)).keys == drawn.keys


async def test_names_that_are_no_text_are_answered_400(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, http(served.a) as raw:
        base = f"{served.url}/api/v1/keys"
        answers = [
            await raw.post(f"{base}/{B}/enc_keys", content=b'{"additional_slave_SAE_IDs": ["\\ud800"]}'),
            await raw.post(f"{base}/{B}/enc_keys", content=b'{"additional_slave_SAE_IDs": ["\xff"]}'),
            await raw.post(f"{base}/{B}/enc_keys", content=b'{"extension_mandatory": [{"\\ud800": "\\udfff"}]}'),
            await raw.post(
                f"{base}/{B}/enc_keys", content=b'{"extension_mandatory": [{"qkms_grade": "\\ud800"}]}'
            ),
            await raw.post(f"{base}/{B}/dec_keys", content=b'{"key_IDs": [{"key_ID": "\\ud800"}]}'),
            await raw.get(f"{base}/%ED%A0%80/enc_keys"),
            await raw.get(f"{base}/%00{'x' * 4_000}/enc_keys"),
            await raw.get(f"{base}/{B}/enc_keys?%ED%A0%80=1"),
            await raw.get(f"{base}/{B}/enc_keys?size=%ED%A0%80"),
            await raw.get(f"{served.skip_url}/key?remoteSystemID=%ED%A0%80"),
            await raw.get(f"{served.skip_url}/key/%ED%A0%80?remoteSystemID={B}"),
        ]
    assert [answer.status_code for answer in answers] == [400] * len(answers)
