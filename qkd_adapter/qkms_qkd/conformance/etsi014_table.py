"""ETSI GS QKD 014 v1.1.1 as a table of cases.

Left out: 503, which takes an exhausted store; additional slave SAEs; that a key is erased from the KME's disk.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from qkms_qkd.answers import HttpAnswer
from qkms_qkd.conformance.expecting import expect, from_base64, json_object, member, status
from qkms_qkd.conformance.runner import Bench, Case
from qkms_qkd.etsi014.messages import EXTENSION_NOT_SUPPORTED, KEYS_NOT_FOUND, SIZE_NOT_MULTIPLE_OF_8

_TEXTS = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
_NUMBERS = (
    "key_size",
    "stored_key_count",
    "max_key_count",
    "max_key_per_request",
    "max_key_size",
    "min_key_size",
    "max_SAE_ID_count",
)


def _path(sae: str, operation: str) -> str:
    return f"api/v1/keys/{quote(sae, safe='')}/{operation}"


async def _status(bench: Bench) -> None:
    body = json_object(await bench.as_local("GET", _path(bench.peer_id, "status")))
    for name in _TEXTS:
        member(body, name, str)
    for name in _NUMBERS:
        member(body, name, int)
    expect(body["slave_SAE_ID"] == bench.peer_id, "slave_SAE_ID is not the SAE asked about")
    expect(body["master_SAE_ID"] == bench.local.id, "master_SAE_ID is not the caller's SAE")


def _keys(answer: HttpAnswer) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for key in member(json_object(answer), "keys", list):
        expect(isinstance(key, dict), "an entry of keys is not an object")
        found.append((member(key, "key_ID", str), from_base64(member(key, "key", str), "key")))
    return found


def _one(keys: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    expect(len(keys) == 1, f"answered with {len(keys)} keys instead of 1")
    return keys[0]


async def _drawn(bench: Bench) -> tuple[str, bytes]:
    return _one(_keys(await bench.as_local("POST", _path(bench.peer_id, "enc_keys"), body={"size": 256})))


async def _draw_by_get(bench: Bench) -> None:
    size = member(json_object(await bench.as_local("GET", _path(bench.peer_id, "status"))), "key_size", int)
    _, key = _one(_keys(await bench.as_local("GET", _path(bench.peer_id, "enc_keys"))))
    expect(len(key) * 8 == size, f"a key without size has {len(key) * 8} bits instead of key_size {size}")


async def _number_and_size(bench: Bench) -> None:
    body = {"number": 2, "size": 256}
    keys = _keys(await bench.as_local("POST", _path(bench.peer_id, "enc_keys"), body=body))
    expect(len(keys) == 2, f"answered with {len(keys)} keys instead of 2")
    expect(all(len(key) == 32 for _, key in keys), "a key has not the size of 256 that was asked for")
    expect(keys[0][0].lower() != keys[1][0].lower(), "two keys have the same key_ID")
    expect(not hmac.compare_digest(keys[0][1], keys[1][1]), "two keys are the same under different ids")


async def _fresh(bench: Bench) -> None:
    (first_id, first), (second_id, second) = await _drawn(bench), await _drawn(bench)
    expect(first_id.lower() != second_id.lower(), "two requests got the same key_ID")
    expect(not hmac.compare_digest(first, second), "two requests got the same key under different ids")


def _refusal(answer: HttpAnswer, message: str = "") -> None:
    body = json_object(answer, 400)
    told = member(body, "message", str)
    expect(not message or told == message, f"the message is not {message!r}")


def _refused_draw(body: dict[str, Any], message: str = "") -> Callable[[Bench], Awaitable[None]]:
    async def check(bench: Bench) -> None:
        _refusal(await bench.as_local("POST", _path(bench.peer_id, "enc_keys"), body=body), message)

    return check


async def _unknown_slave(bench: Bench) -> None:
    _refusal(await bench.as_local("POST", _path(uuid4().hex, "enc_keys"), body={"number": 1}))


async def _unknown_key(bench: Bench) -> None:
    _refusal(await _collect(bench.as_local, bench.peer_id, str(uuid4())), KEYS_NOT_FOUND)


async def _malformed_id(bench: Bench) -> None:
    _refusal(await _collect(bench.as_local, bench.peer_id, "not a UUID"))


async def _collect(ask: Callable[..., Awaitable[HttpAnswer]], master: str, key_id: str) -> HttpAnswer:
    return await ask("POST", _path(master, "dec_keys"), body={"key_IDs": [{"key_ID": key_id}]})


async def _delivered_to(bench: Bench, key_id: str, key: bytes) -> None:
    found_id, found = _one(_keys(await _collect(bench.as_peer, bench.local.id, key_id)))
    expect(found_id.lower() == key_id.lower(), "the slave got another key_ID than it asked for")
    expect(hmac.compare_digest(found, key), "the slave got another key under this key_ID")


async def _slave_collects(bench: Bench) -> None:
    await _delivered_to(bench, *await _drawn(bench))


async def _slave_collects_by_get(bench: Bench) -> None:
    key_id, key = await _drawn(bench)
    answer = await bench.as_peer("GET", _path(bench.local.id, "dec_keys"), query={"key_ID": key_id})
    _, found = _one(_keys(answer))
    expect(hmac.compare_digest(found, key), "the slave got another key under this key_ID")


async def _delivered_once(bench: Bench) -> None:
    key_id, key = await _drawn(bench)
    await _delivered_to(bench, key_id, key)
    _refusal(await _collect(bench.as_peer, bench.local.id, key_id), KEYS_NOT_FOUND)


async def _unnamed(bench: Bench) -> None:
    key_id, key = await _drawn(bench)
    status(await _collect(bench.as_bystander, bench.local.id, key_id), 401)
    await _delivered_to(bench, key_id, key)


ETSI014_CASES: tuple[Case, ...] = (
    Case("6.1", "status has every field, and names master and slave", _status),
    Case("5.2", "enc_keys by GET gives one key of key_size", _draw_by_get),
    Case("5.2", "enc_keys by POST obeys number and size", _number_and_size),
    Case("5.2", "every enc_keys gets a fresh key", _fresh),
    Case("5.2", "400 for a size that is no multiple of 8", _refused_draw({"size": 257}, SIZE_NOT_MULTIPLE_OF_8)),
    Case("5.2", "400 for a number of 0", _refused_draw({"number": 0})),
    Case(
        "5.2",
        "400 for a mandatory extension that nobody knows",
        _refused_draw({"extension_mandatory": [{"qkms_conformance": 1}]}, EXTENSION_NOT_SUPPORTED),
    ),
    Case("5.2", "400 for an unknown slave SAE", _unknown_slave),
    Case("5.3", "400 for a key_ID that nobody has", _unknown_key),
    Case("5.3", "400 for a key_ID that is no UUID", _malformed_id),
    Case("5.3", "dec_keys by POST gives the slave the key that was drawn", _slave_collects),
    Case("5.3", "dec_keys by GET gives the slave the key that was drawn", _slave_collects_by_get),
    Case("5.3", "a key is delivered to the slave once", _delivered_once),
    Case("5.3", "401 for a caller that enc_keys did not name; the key stays", _unnamed),
)
