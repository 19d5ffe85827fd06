"""Every algorithm through the SDK against a real node in memory: its calls work, all others are refused."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import cast
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from tests.unit.qkms_client.conftest import Sdk

from qkms.hybrid import hybrid_encapsulate
from qkms.v1 import key_pb2
from qkms_client import Algorithm, Client, PublicKeyFormat, Signature
from qkms_client import errors as e
from qkms_client.testing import MemoryServer
from qkms_node.keys.algorithms import ALGORITHMS, ENCRYPTION, KEMS, MACS, SIGNATURES, WITH_PUBLIC_KEY

MESSAGE = b"attack at dawn"
PSS = padding.PSS(padding.MGF1(SHA256()), 32)
OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


@pytest.fixture(scope="module")
def owner(server: MemoryServer) -> Iterator[Client]:
    with server.client("payments") as client:
        yield client


@pytest.fixture(scope="module")
def keys(owner: Client) -> Mapping[str, str]:
    """A key of each algorithm with two versions; of the slow ones with one."""
    made = {}
    for algorithm in Algorithm:
        made[algorithm.value] = owner.create_key(f"key-{uuid4().hex[:12]}", algorithm=algorithm, timeout=60).key_id
        if not ALGORITHMS[algorithm].slow_to_draw:
            owner.rotate_key(made[algorithm.value], expected_primary_version=1)
    return made


@pytest.fixture
async def kms(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("payments"), kind)
    yield made
    await made.close()


def test_one_table_of_algorithms() -> None:
    protocol = set(key_pb2.KeyAlgorithm.keys()) - {"KEY_ALGORITHM_UNSPECIFIED"}
    assert protocol == set(ALGORITHMS) == {algorithm.value for algorithm in Algorithm}


Call = Callable[[Client, str], object]

# Operation as the node names it: the call, and the algorithms that have it.
OPERATIONS: dict[str, tuple[Call, Mapping[str, object]]] = {
    "encrypt": (lambda c, k: c.encrypt(k, MESSAGE), ENCRYPTION),
    "decrypt": (lambda c, k: c.decrypt(k, MESSAGE, version=1), ENCRYPTION),
    "rewrap": (lambda c, k: c.rewrap(k, MESSAGE), {"AES_256_GCM": None}),
    "generate data key": (lambda c, k: c.generate_data_key(k), {"AES_256_GCM": None}),
    "derive": (lambda c, k: c.derive_key(k, {"a": "b"}), {"AES_256_GCM": None}),
    "mac": (lambda c, k: c.mac(k, MESSAGE), MACS),
    "verify mac": (lambda c, k: c.verify_mac(k, MESSAGE, b"", version=1), MACS),
    "sign": (lambda c, k: c.sign(k, MESSAGE), SIGNATURES),
    "verify": (lambda c, k: c.verify(k, MESSAGE, b"", version=1), SIGNATURES),
    "get public key": (lambda c, k: c.get_public_key(k), WITH_PUBLIC_KEY),
    "encapsulate": (lambda c, k: c.encapsulate(k), KEMS),
    "decapsulate": (lambda c, k: c.decapsulate(k, MESSAGE, version=1), KEMS),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_key_has_the_operations_of_its_algorithm_and_no_other(
    owner: Client, keys: Mapping[str, str], operation: str
) -> None:
    call, having = OPERATIONS[operation]
    for algorithm, key in keys.items():
        assert (operation in ALGORITHMS[algorithm].operations) == (algorithm in having)
        if algorithm in having:
            with suppress(e.CiphertextMalformed, e.CiphertextRejected):  # what was sent is no ciphertext
                call(owner, key)
            continue
        with pytest.raises(e.AlgorithmUnsuitable) as caught:
            call(owner, key)
        told = caught.value.metadata
        assert (told["algorithm"], told["operation"]) == (algorithm, operation)
        assert algorithm in caught.value.message
        assert told["operations"] in caught.value.message


def verified_elsewhere(algorithm: str, der: bytes, signature: bytes, message: bytes) -> None:
    """By the public key alone, with another program's means. Raises InvalidSignature."""
    public = load_der_public_key(der)
    match algorithm:
        case "ED25519":
            cast(Ed25519PublicKey, public).verify(signature, message)
        case "ECDSA_P256_SHA256":
            cast(ec.EllipticCurvePublicKey, public).verify(signature, message, ec.ECDSA(SHA256()))
        case "ECDSA_P384_SHA384":
            cast(ec.EllipticCurvePublicKey, public).verify(signature, message, ec.ECDSA(SHA384()))
        case "RSA_3072_PSS_SHA256" | "RSA_4096_PSS_SHA256":
            cast(RSAPublicKey, public).verify(signature, message, PSS, SHA256())
        case _:
            cast(MLDSA65PublicKey, public).verify(signature, message)


@pytest.mark.parametrize("algorithm", sorted(SIGNATURES))
def test_signatures_verify_here_and_elsewhere_and_nothing_else_does(
    owner: Client, keys: Mapping[str, str], algorithm: str
) -> None:
    key = keys[algorithm]
    signed = owner.sign(key, MESSAGE)
    public = owner.get_public_key(key)
    assert (public.version, public.algorithm, public.format) == (
        signed.version,
        algorithm,
        PublicKeyFormat.SPKI_DER,
    )
    if not algorithm.startswith("SLH"):  # which the other library does not know; see test_algorithm_answers
        verified_elsewhere(algorithm, public.public_key, signed.signature, MESSAGE)
        with pytest.raises(InvalidSignature):
            verified_elsewhere(algorithm, public.public_key, signed.signature, b"other")
        assert load_pem_public_key(public.pem().encode()) == load_der_public_key(public.public_key)
    assert owner.verify(key, MESSAGE, signed)
    assert owner.verify(key, MESSAGE, signed.signature, version=signed.version).valid
    flipped = signed.signature[:-1] + bytes([signed.signature[-1] ^ 1])
    for message, signature in (
        (b"other", signed.signature),
        (b"", signed.signature),
        (MESSAGE, flipped),
        (MESSAGE, signed.signature[:-1]),
        (MESSAGE, signed.signature + b"\0"),
        (MESSAGE, b""),
        (MESSAGE, bytes(131_072)),
    ):
        refused = owner.verify(key, message, signature, version=signed.version)
        assert not refused
        assert refused.version == signed.version
    assert owner.verify(key, b"", owner.sign(key, b"")), "an empty message is one"


@pytest.mark.parametrize("algorithm", sorted(name for name in SIGNATURES if not name.startswith("RSA")))
def test_an_old_version_verifies_and_another_does_not(
    owner: Client, keys: Mapping[str, str], algorithm: str
) -> None:
    key = keys[algorithm]
    before = owner.sign(key, MESSAGE)
    owner.rotate_key(key)
    after = owner.sign(key, MESSAGE)
    assert after.version == before.version + 1
    assert owner.verify(key, MESSAGE, before)
    assert owner.verify(key, MESSAGE, after)
    assert not owner.verify(key, MESSAGE, replace(before, version=after.version))
    assert owner.get_public_key(key, version=before.version) != owner.get_public_key(key)
    with pytest.raises(e.VersionNotFound):
        owner.verify(key, MESSAGE, replace(before, version=99))


def test_rsa_rotates_and_old_ciphertexts_open(owner: Client, keys: Mapping[str, str]) -> None:
    key = keys["RSA_3072_OAEP_SHA256"]
    public = cast(RSAPublicKey, load_der_public_key(owner.get_public_key(key).public_key))
    assert public.public_numbers().e == 65537
    sealed, elsewhere = owner.encrypt(key, bytes(318)), public.encrypt(MESSAGE, OAEP)
    assert owner.rotate_key(key, timeout=60).version.version == 2
    assert owner.decrypt(key, sealed).plaintext == bytes(318)
    assert owner.decrypt(key, elsewhere, version=1).plaintext == MESSAGE
    for wrong, error in (
        (lambda: owner.decrypt(key, elsewhere, version=2), e.CiphertextRejected),
        (lambda: owner.decrypt(key, elsewhere), e.InvalidField),
        (lambda: owner.decrypt(key, elsewhere[:-1], version=1), e.CiphertextMalformed),
        (lambda: owner.decrypt(key, sealed, context={"a": "b"}), e.InvalidField),
        (lambda: owner.encrypt(key, MESSAGE, aad=b"x"), e.InvalidField),
    ):
        with pytest.raises(error):
            wrong()
    for algorithm, limit in (("RSA_3072_OAEP_SHA256", 318), ("RSA_4096_OAEP_SHA256", 446)):
        assert owner.decrypt(keys[algorithm], owner.encrypt(keys[algorithm], bytes(limit))).plaintext == bytes(
            limit
        )
        with pytest.raises(e.PlaintextTooLarge) as caught:
            owner.encrypt(keys[algorithm], bytes(limit + 1))
        assert caught.value.limit == limit


@pytest.mark.parametrize(("algorithm", "size"), [("HMAC_SHA256", 32), ("HMAC_SHA512", 64)])
def test_macs_of_old_versions_verify(owner: Client, keys: Mapping[str, str], algorithm: str, size: int) -> None:
    key = keys[algorithm]
    made = owner.mac(key, MESSAGE)
    owner.rotate_key(key)
    assert len(made.mac) == size
    assert owner.verify_mac(key, MESSAGE, made)
    assert owner.mac(key, MESSAGE).mac != made.mac
    assert not owner.verify_mac(key, MESSAGE, made.mac, version=made.version + 1)
    for data, mac in ((b"other", made.mac), (MESSAGE, made.mac[:-1]), (MESSAGE, b""), (MESSAGE, made.mac + b"\0")):
        assert not owner.verify_mac(key, data, mac, version=made.version)


@pytest.mark.parametrize("algorithm", sorted(KEMS))
def test_shared_secrets_of_old_versions_open(owner: Client, keys: Mapping[str, str], algorithm: str) -> None:
    key = keys[algorithm]
    made, public = owner.encapsulate(key), owner.get_public_key(key)
    owner.rotate_key(key)
    assert len(made.shared_secret) == 32
    assert owner.decapsulate(key, made).shared_secret == made.shared_secret
    if algorithm == "X25519MLKEM768":
        assert public.format is PublicKeyFormat.RAW_CONCATENATION
        ciphertext, secret = hybrid_encapsulate(public.public_key)
        with pytest.raises(ValueError, match="has no PEM"):
            public.pem()
    else:
        secret, ciphertext = cast(MLKEM768PublicKey, load_der_public_key(public.public_key)).encapsulate()
    assert owner.decapsulate(key, ciphertext, version=public.version).shared_secret == secret
    altered = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    for other, number in ((altered, public.version), (ciphertext, public.version + 1)):
        assert owner.decapsulate(key, other, version=number).shared_secret != secret
    for size in (0, len(ciphertext) - 1, len(ciphertext) + 1):
        with pytest.raises(e.CiphertextMalformed):
            owner.decapsulate(key, bytes(size), version=public.version)
    if algorithm == "X25519MLKEM768":
        with pytest.raises(e.CiphertextRejected, match="small order"):
            owner.decapsulate(key, ciphertext[:-32] + bytes(32), version=public.version)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("ECDSA_P256_SHA256", "sha256"), ("ECDSA_P384_SHA384", "sha384"), ("RSA_3072_PSS_SHA256", "sha256")],
)
def test_a_digest_stands_for_its_message(
    owner: Client, keys: Mapping[str, str], algorithm: str, digest: str
) -> None:
    key, hashed = keys[algorithm], hashlib.new(digest, MESSAGE).digest()
    assert owner.verify(key, MESSAGE, owner.sign(key, hashed, digested=True))
    assert owner.verify(key, hashed, owner.sign(key, MESSAGE), digested=True)
    with pytest.raises(e.InvalidField, match=f"digest: is {len(hashed) - 1} bytes") as caught:
        owner.sign(key, hashed[1:], digested=True)
    assert caught.value.fields[0].field == "digest"


@pytest.mark.parametrize(("algorithm", "size"), [("ECDSA_P256_SHA256", 64), ("ECDSA_P384_SHA384", 96)])
def test_ecdsa_is_written_both_ways(owner: Client, keys: Mapping[str, str], algorithm: str, size: int) -> None:
    key = keys[algorithm]
    raw = owner.sign(key, MESSAGE, p1363=True)
    assert len(raw.signature) == size
    r, s = (int.from_bytes(raw.signature[i : i + size // 2], "big") for i in (0, size // 2))
    der = Signature(encode_dss_signature(r, s), raw.version, raw.grade)
    assert owner.verify(key, MESSAGE, der)
    assert owner.verify(key, MESSAGE, raw, p1363=True)
    assert not owner.verify(key, MESSAGE, raw)
    assert not owner.verify(key, MESSAGE, der, p1363=True)
    for garbage in (bytes(size), b"\xff" * size, raw.signature[1:], b""):
        assert not owner.verify(key, MESSAGE, garbage, version=raw.version, p1363=True)
    with pytest.raises(e.InvalidField, match="encoding"):
        owner.sign(keys["ED25519"], MESSAGE, p1363=True)


@pytest.mark.parametrize("algorithm", ["ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "SLH_DSA_SHA2_128F"])
def test_a_context_is_bound_into_a_signature(owner: Client, keys: Mapping[str, str], algorithm: str) -> None:
    key = keys[algorithm]
    for context in (b"c", bytes(255)):
        signed = owner.sign(key, MESSAGE, context=context)
        assert owner.verify(key, MESSAGE, signed, context=context)
        assert not owner.verify(key, MESSAGE, signed)
        assert not owner.verify(key, MESSAGE, signed, context=context[1:] + b"x")
    with pytest.raises(e.InvalidField, match="255"):
        owner.sign(key, MESSAGE, context=bytes(256))


def test_what_an_algorithm_does_not_take_is_refused_by_its_field(owner: Client, keys: Mapping[str, str]) -> None:
    large = bytes(65_537)
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("context", lambda: owner.sign(keys["ED25519"], MESSAGE, context=b"c")),
        ("context", lambda: owner.verify(keys["RSA_3072_PSS_SHA256"], MESSAGE, b"", version=1, context=b"c")),
        ("context", lambda: owner.sign(keys["ML_DSA_65"], bytes(64), digested=True, context=b"c")),
        ("digest", lambda: owner.sign(keys["ED25519"], bytes(64), digested=True)),
        ("digest", lambda: owner.sign(keys["SLH_DSA_SHA2_192F"], bytes(32), digested=True)),
        ("digest", lambda: owner.sign(keys["ML_DSA_65"], bytes(32), digested=True)),
        ("digest", lambda: owner.sign(keys["ML_DSA_65"], large, digested=True)),
        ("message", lambda: owner.sign(keys["ED25519"], large)),
        ("message", lambda: owner.verify(keys["ED25519"], large, b"", version=1)),
        ("signature", lambda: owner.verify(keys["ED25519"], MESSAGE, bytes(131_073), version=1)),
        ("data", lambda: owner.mac(keys["HMAC_SHA256"], large)),
        ("data", lambda: owner.verify_mac(keys["HMAC_SHA256"], large, b"", version=1)),
        ("mac", lambda: owner.verify_mac(keys["HMAC_SHA256"], b"", bytes(131_073), version=1)),
        ("ciphertext", lambda: owner.decapsulate(keys["ML_KEM_768"], bytes(131_073), version=1)),
        ("ciphertext", lambda: owner.rewrap(keys["AES_256_GCM"], bytes(131_073))),
        ("ciphertext", lambda: owner.decrypt(keys["AES_256_GCM"], bytes(131_073))),
        ("length", lambda: owner.derive_key(keys["AES_256_GCM"], {"a": "b"}, length=15)),
        ("length", lambda: owner.derive_key(keys["AES_256_GCM"], {"a": "b"}, length=1025)),
    ]
    for field, attempt in attempts:
        with pytest.raises(e.InvalidField) as caught:
            attempt()
        assert [violation.field for violation in caught.value.fields] == [field]


def test_a_version_is_needed_before_anything_is_sent(owner: Client, keys: Mapping[str, str]) -> None:
    for attempt, what in (
        (lambda: owner.verify(keys["ED25519"], MESSAGE, b"x"), "signature"),
        (lambda: owner.verify_mac(keys["HMAC_SHA256"], MESSAGE, b"x"), "MAC"),
        (lambda: owner.decapsulate(keys["ML_KEM_768"], b"x"), "ciphertext"),
    ):
        with pytest.raises(ValueError, match=f"which version made this {what}"):
            attempt()
    with pytest.raises(ValueError, match="CAESAR"):
        owner.create_key("cipher", algorithm="CAESAR")


def protected(owner: Client, key: str) -> Callable[[], object]:
    """Protects something with the primary version of a key; the call that processes it again."""
    match owner.get_key(key).algorithm:
        case "ED25519":
            signed = owner.sign(key, MESSAGE)
            return lambda: owner.verify(key, MESSAGE, signed)
        case "HMAC_SHA256":
            mac = owner.mac(key, MESSAGE)
            return lambda: owner.verify_mac(key, MESSAGE, mac)
        case _:
            shared = owner.encapsulate(key)
            return lambda: owner.decapsulate(key, shared)


@pytest.mark.parametrize("algorithm", ["ED25519", "HMAC_SHA256", "ML_KEM_768"])
def test_a_version_that_is_suspended_or_destroyed_does_nothing_any_more(owner: Client, algorithm: str) -> None:
    key = owner.create_key(f"key-{uuid4().hex[:12]}", algorithm=algorithm).key_id
    attempts = [protected(owner, key)]
    if algorithm in WITH_PUBLIC_KEY:
        attempts.append(lambda: owner.get_public_key(key, version=1))
    owner.rotate_key(key)
    for attempt in attempts:
        assert attempt()
    owner.disable_version(key, 1)
    for attempt in attempts:
        with pytest.raises(e.VersionDisabled):
            attempt()
    owner.destroy_version(key, 1)
    for attempt in attempts:
        with pytest.raises(e.VersionDestroyed):
            attempt()
    owner.disable_version(key, 2)
    with pytest.raises(e.VersionDisabled):
        protected(owner, key)


def test_rewrapping_brings_a_ciphertext_under_the_primary_version(owner: Client) -> None:
    key, context = owner.create_key(f"key-{uuid4().hex[:12]}").key_id, {"tenant": "a"}
    sealed = owner.encrypt(key, MESSAGE, context=context, aad=b"x")
    same = owner.rewrap(key, sealed, context=context, aad=b"x")
    assert (same.ciphertext, same.version, same.source_version) == (sealed.ciphertext, 1, 1)
    owner.rotate_key(key)
    moved = owner.rewrap(key, sealed, context=context, aad=b"x")
    assert (moved.version, moved.source_version) == (2, 1)
    owner.destroy_version(key, 1)
    assert owner.decrypt(key, moved.ciphertext, context=context, aad=b"x").plaintext == MESSAGE
    with pytest.raises(e.VersionDestroyed):
        owner.rewrap(key, sealed, context=context, aad=b"x")
    with pytest.raises(e.CiphertextRejected):
        owner.rewrap(key, moved.ciphertext, context={"tenant": "b"}, aad=b"x")
    with pytest.raises(e.CiphertextRejected):
        owner.rewrap(key, moved.ciphertext, context=context)
    with pytest.raises(e.InvalidField, match="under version 2"):
        owner.decrypt(key, moved.ciphertext, version=1, context=context, aad=b"x")


def test_derived_keys_of_other_lengths_have_nothing_in_common(owner: Client, keys: Mapping[str, str]) -> None:
    key = keys["AES_256_GCM"]
    derived = {n: owner.derive_key(key, {"a": "b"}, length=n, version=1).key for n in (16, 32, 64, 1024)}
    assert [len(value) for value in derived.values()] == list(derived)
    assert len({value[:16] for value in derived.values()}) == 4
    assert owner.derive_key(key, {"a": "b"}, version=1).key == derived[32]


async def test_both_clients_have_the_same_calls(kms: Sdk, keys: Mapping[str, str]) -> None:
    signed = await kms("sign", keys["ML_DSA_65"], MESSAGE, context=b"c")
    assert await kms("verify", keys["ML_DSA_65"], MESSAGE, signed, context=b"c")
    mac = await kms("mac", keys["HMAC_SHA512"], MESSAGE)
    assert await kms("verify_mac", keys["HMAC_SHA512"], MESSAGE, mac)
    shared = await kms("encapsulate", keys["X25519MLKEM768"])
    assert (await kms("decapsulate", keys["X25519MLKEM768"], shared)).shared_secret == shared.shared_secret
    assert (await kms("get_public_key", keys["ED25519"])).algorithm == "ED25519"
    sealed = await kms("encrypt", keys["RSA_4096_OAEP_SHA256"], MESSAGE)
    assert (await kms("decrypt", keys["RSA_4096_OAEP_SHA256"], sealed)).plaintext == MESSAGE
    sealed = await kms("encrypt", keys["AES_256_GCM"], MESSAGE)
    assert (await kms("rewrap", keys["AES_256_GCM"], sealed)).ciphertext == sealed.ciphertext
    made = await kms("create_key", f"key-{uuid4().hex[:12]}", algorithm="HMAC_SHA256")
    assert made.algorithm == Algorithm.HMAC_SHA256


async def test_a_slow_key_does_not_hold_up_the_node(server: MemoryServer, keys: Mapping[str, str]) -> None:
    async with server.async_client("payments") as client:
        drawing = asyncio.create_task(
            client.create_key(f"key-{uuid4().hex[:12]}", algorithm="RSA_4096_PSS_SHA256", timeout=60)
        )
        served = 0
        while not drawing.done():
            await client.mac(keys["HMAC_SHA256"], MESSAGE)
            served += 1
        assert served >= 3
        again: Awaitable[Signature] = client.sign((await drawing).key_id, MESSAGE)
        assert len((await again).signature) == 512


def test_secrets_in_results_are_redacted(owner: Client, keys: Mapping[str, str]) -> None:
    made = owner.encapsulate(keys["ML_KEM_768"])
    opened = owner.decapsulate(keys["ML_KEM_768"], made)
    assert repr(made) == "Encapsulated(redacted)"
    assert repr(opened) == "Decapsulated(redacted)"
