"""SKIP (draft-cisco-skip-02) as a table of cases.

Left out: TLS-PSK, and what only the KME's operator can see (that a key is erased from its disk).
"""

import hmac
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from uuid import uuid4

from qkms_qkd.answers import HttpAnswer
from qkms_qkd.conformance.expecting import expect, from_hex, json_object, member, status
from qkms_qkd.conformance.runner import Bench, Case, NotRunError

_MIN_KEY_ID_BITS = 128
_LARGE_BITS = 10**8


async def _capabilities(bench: Bench) -> None:
    body = json_object(await bench.as_local("GET", "capabilities"))
    member(body, "entropy", bool)
    member(body, "key", bool)
    expect(bool(member(body, "algorithm", str)), "algorithm is empty")
    expect(bool(member(body, "localSystemID", str)), "localSystemID is empty")
    remote = member(body, "remoteSystemID", list)
    expect(all(isinstance(one, str) for one in remote), "remoteSystemID holds something else than strings")


async def _names_the_peer(bench: Bench) -> None:
    remote = member(json_object(await bench.as_local("GET", "capabilities")), "remoteSystemID", list)
    expect(
        any(fnmatchcase(bench.peer_id, str(one)) for one in remote),
        f"remoteSystemID does not name {bench.peer_id}",
    )


def _only_get(method: str, path: str) -> Callable[[Bench], Awaitable[None]]:
    async def check(bench: Bench) -> None:
        status(await bench.as_local(method, path, query={"remoteSystemID": bench.peer_id}), 405)

    return check


async def _unknown_path(bench: Bench) -> None:
    status(await bench.as_local("GET", f"nothing-{uuid4().hex}"), 404)


async def _drawn(bench: Bench, **query: str) -> tuple[str, bytes]:
    return _key(await bench.as_local("GET", "key", query={"remoteSystemID": bench.peer_id, **query}))


def _key(answer: HttpAnswer) -> tuple[str, bytes]:
    body = json_object(answer)
    key_id = member(body, "keyId", str)
    expect(len(from_hex(key_id, "keyId")) * 8 >= _MIN_KEY_ID_BITS, f"keyId is under {_MIN_KEY_ID_BITS} bits")
    return key_id, from_hex(member(body, "key", str), "key")


async def _default_size(bench: Bench) -> None:
    _, key = await _drawn(bench)
    expect(len(key) == 32, f"a key without size has {len(key) * 8} bits instead of 256")


async def _size(bench: Bench) -> None:
    answer = await bench.as_local("GET", "key", query={"remoteSystemID": bench.peer_id, "size": "128"})
    if answer.status == 400:
        raise NotRunError("the KME gives no keys of 128 bits")
    _, key = _key(answer)
    expect(len(key) == 16, f"a key of size 128 has {len(key) * 8} bits")


async def _fresh(bench: Bench) -> None:
    (first_id, first), (second_id, second) = await _drawn(bench), await _drawn(bench)
    expect(first_id.lower() != second_id.lower(), "two requests got the same keyId")
    expect(not hmac.compare_digest(first, second), "two requests got the same key under different ids")


def _refused(path: str, **query: str) -> Callable[[Bench], Awaitable[None]]:
    """400 for this request; "{peer}" stands for the peer's id, "{unknown}" for an id nobody has."""

    async def check(bench: Bench) -> None:
        names = {"peer": bench.peer_id, "unknown": uuid4().hex}
        filled = {name: value.format(**names) for name, value in query.items()}
        status(await bench.as_local("GET", path.format(**names), query=filled), 400)

    return check


async def _collected(bench: Bench, key_id: str) -> HttpAnswer:
    return await bench.as_peer("GET", f"key/{key_id}", query={"remoteSystemID": bench.local.id})


async def _delivered_to(bench: Bench, key_id: str, key: bytes) -> None:
    found_id, found = _key(await _collected(bench, key_id))
    expect(found_id.lower() == key_id.lower(), "the peer got another keyId than it asked for")
    expect(hmac.compare_digest(found, key), "the peer got another key under this keyId")


async def _peer_collects(bench: Bench) -> None:
    await _delivered_to(bench, *await _drawn(bench))


async def _erased_for_the_peer(bench: Bench) -> None:
    key_id, key = await _drawn(bench)
    await _delivered_to(bench, key_id, key)
    status(await _collected(bench, key_id), 400)


async def _erased_for_the_drawer(bench: Bench) -> None:
    key_id, _ = await _drawn(bench)
    status(await bench.as_local("GET", f"key/{key_id}", query={"remoteSystemID": bench.peer_id}), 400)


async def _wrong_remote(bench: Bench) -> None:
    key_id, key = await _drawn(bench)
    status(await bench.as_peer("GET", f"key/{key_id}", query={"remoteSystemID": uuid4().hex}), 400)
    await _delivered_to(bench, key_id, key)


async def _unnamed(bench: Bench) -> None:
    key_id, key = await _drawn(bench)
    query = {"remoteSystemID": bench.local.id}
    status(await bench.as_bystander("GET", f"key/{key_id}", query=query), 400, 401, 403)
    await _delivered_to(bench, key_id, key)


async def _random(bench: Bench, **query: str) -> tuple[bytes, int]:
    offered = member(json_object(await bench.as_local("GET", "capabilities")), "entropy", bool)
    if not offered:
        raise NotRunError("capabilities: entropy is false")
    body = json_object(await bench.as_local("GET", "entropy", query=query))
    return from_hex(member(body, "randomStr", str), "randomStr"), member(body, "minentropy", int)


def _entropy(least_bits: int, **query: str) -> Callable[[Bench], Awaitable[None]]:
    async def check(bench: Bench) -> None:
        found, told = await _random(bench, **query)
        expect(told >= least_bits, f"minentropy is {told}, under {least_bits}")
        expect(len(found) * 8 >= least_bits, f"randomStr has {len(found) * 8} bits, under {least_bits}")

    return check


async def _fresh_entropy(bench: Bench) -> None:
    (first, _), (second, _) = await _random(bench), await _random(bench)
    expect(not hmac.compare_digest(first, second), "two requests got the same random string")


async def _too_much_entropy(bench: Bench) -> None:
    answer = await bench.as_local("GET", "entropy", query={"minentropy": str(_LARGE_BITS)})
    status(answer, 503)


SKIP_CASES: tuple[Case, ...] = (
    Case("/capabilities", "200 with entropy, key, algorithm, localSystemID, remoteSystemID", _capabilities),
    Case("/capabilities", "remoteSystemID names the peer", _names_the_peer),
    *(
        Case(f"/{path}", f"{method} is answered 405", _only_get(method, path))
        for path in ("capabilities", "key", "entropy")
        for method in ("POST", "PUT", "DELETE")
    ),
    Case("paths", "any other path is answered 404", _unknown_path),
    Case("/key", "200 with keyId of 128 bits or more and key, 256 bits by default, in hexadecimal", _default_size),
    Case("/key", "size is obeyed", _size),
    Case("/key", "every request gets a fresh key", _fresh),
    Case("/key", "400 without remoteSystemID", _refused("key")),
    Case("/key", "400 for an unknown remoteSystemID", _refused("key", remoteSystemID="{unknown}")),
    Case("/key", "400 for a size of 0", _refused("key", remoteSystemID="{peer}", size="0")),
    Case("/key", "400 for a size that is no number", _refused("key", remoteSystemID="{peer}", size="many")),
    Case("/key/{keyId}", "400 for a malformed keyId", _refused("key/not-hexadecimal", remoteSystemID="{peer}")),
    Case("/key/{keyId}", "400 for an unknown keyId", _refused("key/{unknown}", remoteSystemID="{peer}")),
    Case("/key/{keyId}", "400 without remoteSystemID", _refused("key/{unknown}")),
    Case("/key/{keyId}", "the peer gets the key that was drawn", _peer_collects),
    Case("/key/{keyId}", "a key is erased after its delivery to the peer", _erased_for_the_peer),
    Case("/key/{keyId}", "a key is erased after its delivery to the drawer", _erased_for_the_drawer),
    Case("/key/{keyId}", "400 for the right keyId with another remoteSystemID; the key stays", _wrong_remote),
    Case("/key/{keyId}", "a key is not known to a caller that was not named; the key stays", _unnamed),
    Case("/entropy", "200 with randomStr and minentropy, 256 bits by default", _entropy(256)),
    Case("/entropy", "minentropy is obeyed", _entropy(512, minentropy="512")),
    Case("/entropy", "every request gets a fresh string", _fresh_entropy),
    Case("/entropy", "503 when so much entropy cannot be had", _too_much_entropy),
)
