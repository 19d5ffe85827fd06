"""Vectors of wrapped versions, sealed data and local seals.

Run as `python -m tests.vectors.generate_sealed [--check]`.
"""

from tests.vectors.reference import (
    aes256,
    blocks,
    expand,
    gcm_product,
    gcm_seal,
    gcm_stream,
    gcm_tag,
    ghash_blocks,
    lp,
    mac,
    number,
    sample,
    sha256,
)
from tests.vectors.writing import Case, publish

ALGORITHM, KEY_ID = "AES_256_GCM", "orders"


def flipped(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def version_cases() -> list[Case]:
    kek, material, nonce = sample("KEK", 32), sample("K_v", 32), sample("nonce", 12)
    aad = lp(b"qkms/version-wrap/v1", KEY_ID.encode(), number(3), ALGORITHM.encode(), number(7))
    public = sample("public half", 44)
    check_key = expand(material, lp(b"qkms/check-value/v1"), 32)
    check_input = lp(b"qkms/check-value/v1", KEY_ID.encode(), number(3))
    good: Case = {
        "title": "a version wrapped",
        "kek": kek,
        "material": material,
        "nonce": nonce,
        "key_id": KEY_ID,
        "version": 3,
        "algorithm": ALGORITHM,
        "epoch": 7,
        "wrapped": nonce + gcm_seal(kek, nonce, material, aad),
        "check_value": mac(check_key, check_input)[:16],
        "public_key": public,
        "check_value_of_both": mac(check_key, check_input + lp(public))[:16],
    }
    long = sample("PKCS#8", 2375)
    long_check = expand(long, lp(b"qkms/check-value/v1"), 32)
    longer: Case = {
        **good,
        "title": "a version of 2375 bytes wrapped",
        "material": long,
        "wrapped": nonce + gcm_seal(kek, nonce, long, aad),
        "check_value": mac(long_check, check_input)[:16],
        "check_value_of_both": mac(long_check, check_input + lp(public))[:16],
    }
    short = nonce + gcm_seal(kek, nonce, material[:31], aad)
    altered: dict[str, Case] = {
        "under another KEK": {"kek": sample("other KEK", 32)},
        "under another name": {"key_id": "invoices"},
        "under another number": {"version": 4},
        "for another algorithm": {"algorithm": "AES_128_GCM"},
        "of another epoch": {"epoch": 8},
        "altered nonce": {"wrapped": flipped(good["wrapped"], 0)},
        "altered material": {"wrapped": flipped(good["wrapped"], 12)},
        "altered tag": {"wrapped": flipped(good["wrapped"], 59)},
        "truncated": {"wrapped": good["wrapped"][:-1]},
        "truncated within its nonce": {"wrapped": good["wrapped"][:5]},
        "erased": {"wrapped": b""},
        "well wrapped, but 31 bytes": {"wrapped": short},
        "as if of more bytes than any algorithm has": {"wrapped": nonce + bytes(4096 + 17)},
    }
    failing = ({**good, "title": t, **change, "fails": "WRAP_REJECTED"} for t, change in altered.items())
    return [good, longer, *failing]


def context_hash(context: dict[str, str]) -> bytes:
    pairs = sorted((name.encode(), value.encode()) for name, value in context.items())
    return sha256(lp(b"qkms/context/v1", *(part for pair in pairs for part in pair)))


def context_key(material: bytes, version: int, context: dict[str, str]) -> bytes:
    label = b"qkms/encryption-key/v1"
    info = lp(label, ALGORITHM.encode(), KEY_ID.encode(), number(version), context_hash(context))
    return expand(material, info, 32)


def derived_key(material: bytes, version: int, context: dict[str, str], length: int) -> bytes:
    label = b"qkms/derived-key/v2"
    info = lp(label, ALGORITHM.encode(), KEY_ID.encode(), number(version), context_hash(context), number(length))
    return expand(material, info, length)


def data_case(title: str, context: dict[str, str], plaintext: bytes, aad: bytes, version: int = 3) -> Case:
    material, r = sample("K_v", 32), sample("r", 24)
    key = context_key(material, version, context)
    block = expand(key, lp(b"qkms/sealed-data/v1", r), 64)
    header = b"\x01" + version.to_bytes(4, "big") + r
    body = gcm_seal(block[:32], bytes(12), plaintext, lp(b"qkms/sealed-data/v1", header) + aad)
    return {
        "title": title,
        "material": material,
        "algorithm": ALGORITHM,
        "key_id": KEY_ID,
        "version": version,
        "context": context,
        "context_hash": context_hash(context),
        "encryption_key": key,
        "derived_key": derived_key(material, version, context, 32),
        "derived_keys": [derived_key(material, version, context, length) for length in (16, 33, 1024)],
        "r": r,
        "plaintext": plaintext,
        "aad": aad,
        "ciphertext": header + block[32:] + body,
    }


def data_cases() -> list[Case]:
    context = {"tenant": "42", "purpose": "cards", "é": "", "ﬀ": "\U0001f511"}
    good = data_case("context out of order, AAD", context, b"four of diamonds", b"order 17")
    sealed = good["ciphertext"]
    malformed = {
        "empty": b"",
        "truncated to a byte under the overhead": sealed[:76],
        "another format": b"\x02" + sealed[1:],
        "version 0": sealed[:1] + bytes(4) + sealed[5:],
    }
    rejected: dict[str, Case] = {
        "other value in the context": {"context": {**context, "tenant": "43"}},
        "no context": {"context": {}},
        "name and value joined otherwise": {"context": {**context, "tenant4": "2"}},
        "other AAD": {"aad": b"order 18"},
        "no AAD": {"aad": b""},
        "other key version in the header": {"ciphertext": flipped(sealed, 4), "version": 2},
        "altered r": {"ciphertext": flipped(sealed, 5)},
        "altered key commitment": {"ciphertext": flipped(sealed, 29)},
        "altered data": {"ciphertext": flipped(sealed, 61)},
        "altered tag": {"ciphertext": flipped(sealed, len(sealed) - 1)},
        "truncated data": {"ciphertext": sealed[:-1]},
        "more data": {"ciphertext": sealed + b"\0"},
        "under a derived key, which a service holds": {"ciphertext": under_derived_key(good)},
    }
    return [
        good,
        data_case("nothing sealed, no context", {}, b"", b""),
        data_case("the greatest version, several blocks", {"a": "b"}, sample("plaintext", 100), b"", 2**32 - 1),
        *({**good, "title": t, "ciphertext": c, "fails": "CIPHERTEXT_MALFORMED"} for t, c in malformed.items()),
        *({**good, "title": t, **change, "fails": "CIPHERTEXT_REJECTED"} for t, change in rejected.items()),
    ]


def under_derived_key(good: Case) -> bytes:
    header = good["ciphertext"][:29]
    block = expand(good["derived_key"], lp(b"qkms/sealed-data/v1", good["r"]), 64)
    aad = lp(b"qkms/sealed-data/v1", header) + good["aad"]
    return bytes(header + block[32:] + gcm_seal(block[:32], bytes(12), good["plaintext"], aad))


def power(h: int, exponent: int) -> int:
    result = 1 << 127
    for _ in range(exponent):
        result = gcm_product(result, h)
    return result


def inverse(x: int) -> int:
    result, square = 1 << 127, x
    for _ in range(127):
        square = gcm_product(square, square)
        result = gcm_product(result, square)
    return result


def two_keys_case() -> Case:
    """One GCM ciphertext and tag that opens under two message keys (an invisible salamander)."""
    r, version = sample("r", 24), 3
    header = b"\x01" + version.to_bytes(4, "big") + r
    aad = lp(b"qkms/sealed-data/v1", header)
    keys = [sample("first K_ctx", 32), sample("second K_ctx", 32)]
    derived = [expand(key, lp(b"qkms/sealed-data/v1", r), 64) for key in keys]
    message_keys = [block[:32] for block in derived]
    first = gcm_stream(message_keys[0], bytes(12), b"what one may see")
    hashes = [int.from_bytes(aes256(key, bytes(16)), "big") for key in message_keys]
    masks = [int.from_bytes(aes256(key, bytes(12) + b"\0\0\0\1"), "big") for key in message_keys]
    # The second block is free: chosen so that both tags, linear in it, come out the same.
    items = ghash_blocks(aad, first + bytes(16))
    free = len(items) - 2
    difference = masks[0] ^ masks[1]
    for position, item in enumerate(items):
        for h in hashes:
            difference ^= gcm_product(item, power(h, len(items) - position))
    exponent = len(items) - free
    factor = power(hashes[0], exponent) ^ power(hashes[1], exponent)
    ciphertext = first + gcm_product(difference, inverse(factor)).to_bytes(16, "big")
    tags = {gcm_tag(key, bytes(12), aad, ciphertext) for key in message_keys}
    [tag] = tags
    assert len(blocks(ciphertext)) == 2
    return {
        "title": "opens under two keys in AES-GCM, under one here",
        "encryption_keys": keys,
        "message_keys": message_keys,
        "associated": aad,
        "body": ciphertext + tag,
        "ciphertexts": [header + block[32:] + ciphertext + tag for block in derived],
    }


def local_cases() -> list[Case]:
    key, nonce, payload = sample("key file", 32), sample("seal nonce", 24), b"the roots of node-1"
    file_key = expand(key, lp(b"qkms/local-seal/v1", nonce), 32)
    aad = lp(b"qkms/local-seal/v1", b"\x01", b"dev", b"node-1")
    sealed = b"\x01" + nonce + gcm_seal(file_key, bytes(12), payload, aad)
    good: Case = {
        "title": "a store sealed",
        "key": key,
        "payload": payload,
        "cluster_id": "dev",
        "node_id": "node-1",
        "nonce": nonce,
        "sealed": sealed,
    }
    altered: dict[str, Case] = {
        "another key file": {"key": sample("other key file", 32)},
        "copied from another node": {"node_id": "node-2"},
        "of another cluster": {"cluster_id": "prod"},
        "names joined otherwise": {"cluster_id": "devn", "node_id": "ode-1"},
        "another format": {"sealed": b"\x02" + sealed[1:]},
        "altered nonce": {"sealed": flipped(sealed, 1)},
        "altered data": {"sealed": flipped(sealed, 25)},
        "truncated": {"sealed": sealed[:-1]},
        "truncated within its nonce": {"sealed": sealed[:12]},
        "empty": {"sealed": b""},
    }
    return [good, *({**good, "title": t, **c, "fails": "LOCAL_SEAL_REJECTED"} for t, c in altered.items())]


if __name__ == "__main__":
    publish(
        {
            "version.json": ("Key versions wrapped under an epoch. Bytes are hexadecimal.", version_cases()),
            "data.json": ("Sealed data and derived keys. Bytes are hexadecimal.", data_cases()),
            "two_keys.json": ("A ciphertext crafted against two keys. Bytes are hexadecimal.", [two_keys_case()]),
            "local.json": ("A node's own store. Bytes are hexadecimal.", local_cases()),
        }
    )
