"""The KME's face towards SAEs against ETSI GS QKD 014 v1.1.1, by plain HTTP."""

import base64
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .kme_network import KmeNetwork

ENC, DEC = "/api/v1/keys/node-2/enc_keys", "/api/v1/keys/node-1/dec_keys"
NOT_FOUND = "one or more keys specified are not found on KME"


@pytest.fixture
def master(quiet_pair: KmeNetwork) -> Iterator[httpx.Client]:
    quiet_pair.wait_stored("kme-1", "kme-2", 20)
    with quiet_pair.http(quiet_pair.node("kme-1"), quiet_pair.url("kme-1")) as http:
        yield http


@pytest.fixture
def slave(quiet_pair: KmeNetwork) -> Iterator[httpx.Client]:
    with quiet_pair.http(quiet_pair.node("kme-2"), quiet_pair.url("kme-2")) as http:
        yield http


def drawn(http: httpx.Client, **demand: object) -> list[dict[str, Any]]:
    answer = http.post(ENC, json=demand)
    assert answer.status_code == 200, answer.text
    keys: list[dict[str, Any]] = answer.json()["keys"]
    return keys


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 400, (answer.status_code, answer.text)
    body = answer.json()
    assert set(body) == {"message", "details"}
    message: str = body["message"]
    return message


def test_status_has_every_field_of_clause_6_1(master: httpx.Client) -> None:
    body = master.get("/api/v1/keys/node-2/status").json()
    extension = body.pop("status_extension")
    stored = body.pop("stored_key_count")
    assert body == {
        "source_KME_ID": "kme-1",
        "target_KME_ID": "kme-2",
        "master_SAE_ID": "node-1",
        "slave_SAE_ID": "node-2",
        "key_size": 256,
        "max_key_count": 200,
        "max_key_per_request": 128,
        "max_key_size": 1024,
        "min_key_size": 64,
        "max_SAE_ID_count": 0,
    }
    assert 0 < stored <= 200
    assert set(extension) == {"qber", "skr_bps", "link_state"}
    assert extension["link_state"] == "up"


@pytest.mark.parametrize(
    ("query", "number", "bits"), [("", 1, 256), ("?number=2", 2, 256), ("?size=128&number=3", 3, 128)]
)
def test_enc_keys_by_get(master: httpx.Client, query: str, number: int, bits: int) -> None:
    keys = master.get(ENC + query).json()["keys"]
    assert len(keys) == number
    for key in keys:
        assert str(uuid.UUID(key["key_ID"])) == key["key_ID"]
        assert len(base64.b64decode(key["key"], validate=True)) * 8 == bits


def test_dec_keys_by_get_for_a_single_id(master: httpx.Client, slave: httpx.Client) -> None:
    [key] = drawn(master)
    [collected] = slave.get(DEC, params={"key_ID": key["key_ID"]}).json()["keys"]
    assert (collected["key_ID"], collected["key"]) == (key["key_ID"], key["key"])


def test_dec_keys_by_post_takes_ids_in_any_case(master: httpx.Client, slave: httpx.Client) -> None:
    keys = drawn(master, number=2)
    body = {"key_IDs": [{"key_ID": key["key_ID"].upper()} for key in keys]}
    collected = slave.post(DEC, json=body).json()["keys"]
    assert [key["key"] for key in collected] == [key["key"] for key in keys]


def test_optional_extensions_are_ignored(master: httpx.Client) -> None:
    assert len(drawn(master, extension_optional=[{"anything": 1}], extension_mandatory=[])) == 1


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({"size": 100}, "size shall be a multiple of 8"),
        ({"size": 100, "number": 0}, "size shall be a multiple of 8"),
        ({"extension_mandatory": [{"route": "x"}]}, "not all extension_mandatory parameters are supported"),
        ({"size": 56}, "size shall be from 64 to 1024"),
        ({"size": 1032}, "size shall be from 64 to 1024"),
        ({"size": 0}, "size shall be from 64 to 1024"),
        ({"number": 0}, "number shall be from 1 to 128"),
        ({"number": -1}, "number shall be from 1 to 128"),
        ({"number": 129}, "number shall be from 1 to 128"),
        (
            {"additional_slave_SAE_IDs": ["node-3"]},
            "additional_slave_SAE_IDs shall name at most 0 SAEs (max_SAE_ID_count)",
        ),
    ],
)
def test_enc_keys_refusals(master: httpx.Client, demand: dict[str, object], message: str) -> None:
    before = master.get("/api/v1/keys/node-2/status").json()["stored_key_count"]
    assert refused(master.post(ENC, json=demand)) == message
    assert master.get("/api/v1/keys/node-2/status").json()["stored_key_count"] >= before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"number": "1"}',
        b'{"number": 1.5}',
        b'{"nubmer": 1}',
        b'{"size": null}x',
        b"[" * 9000,
    ],
)
def test_enc_keys_with_a_body_of_another_form(master: httpx.Client, body: bytes) -> None:
    assert "request" in refused(master.post(ENC, content=body))


@pytest.mark.parametrize(
    "query",
    [
        "?number=x",
        "?number=-1",
        "?size=1e3",
        "?number=1&number=2",
        "?extension_mandatory=x",
        "?number=99999999999",
    ],
)
def test_enc_keys_by_get_with_another_query(master: httpx.Client, query: str) -> None:
    refused(master.get(ENC + query))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"key_IDs": [{"key_ID": "00000000-0000-4000-8000-000000000000"}]}, NOT_FOUND),
        ({"key_IDs": [{"key_ID": "not a uuid"}]}, "each key_ID shall be a UUID"),
        ({"key_IDs": []}, "key_IDs shall name 1 to 128 keys"),
    ],
)
def test_dec_keys_refusals(slave: httpx.Client, body: dict[str, object], message: str) -> None:
    assert refused(slave.post(DEC, json=body)) == message


def test_dec_keys_naming_a_key_twice(master: httpx.Client, slave: httpx.Client) -> None:
    [key] = drawn(master)
    body = {"key_IDs": [{"key_ID": key["key_ID"]}, {"key_ID": key["key_ID"]}]}
    assert refused(slave.post(DEC, json=body)) == "key_IDs shall not name a key twice"
    assert slave.get(DEC, params={"key_ID": key["key_ID"]}).status_code == 200


def test_a_free_key_cannot_be_collected(master: httpx.Client, slave: httpx.Client) -> None:
    [key] = drawn(master)
    assert refused(master.get("/api/v1/keys/node-2/dec_keys", params={"key_ID": key["key_ID"]})) == NOT_FOUND


@pytest.mark.parametrize("path", ["/api/v1/keys/node-9/status", "/api/v1/keys/node-9/enc_keys"])
def test_an_unknown_slave_is_named(master: httpx.Client, path: str) -> None:
    assert refused(master.get(path)) == "SAE node-9 is not known to KME kme-1"


def test_an_sae_has_no_link_to_itself(master: httpx.Client) -> None:
    assert refused(master.get("/api/v1/keys/node-1/enc_keys")) == "master and slave SAE shall differ"


def test_other_paths_and_methods(master: httpx.Client) -> None:
    assert master.get("/").status_code == 404
    assert master.put(ENC).status_code == 405
    assert "Traceback" not in master.get("/api/v1/keys/%00%0a/status").text


def test_an_oversized_body_is_refused(master: httpx.Client) -> None:
    assert "too large" in refused(master.post(ENC, content=b" " * (10 << 20)))
