"""ML-KEM-768 and X25519 against the known answers, and ML-KEM against an independent implementation."""

import copy
import pickle
from collections.abc import Iterator
from importlib.resources import files

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pqcrypto.kem import ml_kem_768

from qkms.hybrid import hybrid_encapsulate, hybrid_public_bytes
from qkms.kem import HybridCiphertext, HybridPrivateKey, HybridPublicKey, KemRejected, encapsulate

PRIVATE = HybridPrivateKey.from_bytes(bytes(range(96)))
BASE_POINT = (9).to_bytes(32, "little")

# Every X25519 input of small order, also as encoded beyond the field (Curve25519 paper, "validation").
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def mlkem_answers() -> Iterator[dict[str, bytes]]:
    known: dict[str, bytes] = {}
    path = files("cryptography_vectors") / "asymmetric" / "MLKEM" / "kat_MLKEM_768.rsp"
    with path.open() as lines:
        for line in lines:
            name, _, value = line.strip().partition(" = ")
            if name == "count" and known:
                yield known
                known = {}
            elif name != "count" and name:
                known[name] = bytes.fromhex(value)
    yield known


def x25519_answers() -> list[list[bytes]]:
    text = (files("cryptography_vectors") / "asymmetric" / "X25519" / "rfc7748.txt").read_text()
    values = [bytes.fromhex(line.split(" = ")[1]) for line in text.splitlines() if "PUT_" in line]
    return [values[i : i + 3] for i in range(0, len(values), 3)]


def test_mlkem_known_answers() -> None:
    ephemeral = X25519PrivateKey.generate().public_key().public_bytes_raw()
    count = 0
    for known in mlkem_answers():
        private = HybridPrivateKey.from_bytes(known["d"] + known["z"] + bytes(32))
        assert private.public.mlkem == known["pk"]
        assert private.decapsulate(HybridCiphertext(known["ct"], ephemeral)).mlkem == known["ss"]
        # A ciphertext that encapsulation cannot have made: implicit rejection, a secret all the same.
        assert private.decapsulate(HybridCiphertext(known["ct_n"], ephemeral)).mlkem == known["ss_n"]
        count += 1
    assert count == 1000


@pytest.mark.parametrize(("scalar", "u", "expected"), x25519_answers())
def test_x25519_known_answers(scalar: bytes, u: bytes, expected: bytes) -> None:
    private = HybridPrivateKey.from_bytes(bytes(64) + scalar)
    ciphertext, _ = encapsulate(private.public)
    assert private.decapsulate(HybridCiphertext(ciphertext.mlkem, u)).x25519 == expected


def test_x25519_exchange_of_rfc_7748() -> None:
    alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
    bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
    one, other = (HybridPrivateKey.from_bytes(bytes(64) + bytes.fromhex(scalar)) for scalar in (alice, bob))
    assert one.public.x25519.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert other.public.x25519.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = one.decapsulate(HybridCiphertext(bytes(1088), other.public.x25519)).x25519
    assert shared.hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_pqcrypto_opens_what_we_encapsulate() -> None:
    public, secret = ml_kem_768.keygen()
    ciphertext, ours = encapsulate(HybridPublicKey(bytes(public), PRIVATE.public.x25519))
    assert bytes(ml_kem_768.decaps(secret, ciphertext.mlkem)) == ours.mlkem


def test_we_open_what_pqcrypto_encapsulates() -> None:
    ciphertext, theirs = ml_kem_768.encaps(PRIVATE.public.mlkem)
    assert PRIVATE.decapsulate(HybridCiphertext(bytes(ciphertext), BASE_POINT)).mlkem == bytes(theirs)


def test_pqcrypto_rejects_implicitly_as_we_do() -> None:
    known = next(mlkem_answers())
    assert bytes(ml_kem_768.decaps(known["sk"], known["ct_n"])) == known["ss_n"]


def test_round_trip_and_fresh_secrets() -> None:
    private = HybridPrivateKey.generate()
    assert private.public != HybridPrivateKey.generate().public
    ciphertext, secrets = encapsulate(private.public)
    opened = private.decapsulate(ciphertext)
    assert (opened.mlkem, opened.x25519) == (secrets.mlkem, secrets.x25519)
    assert {len(opened.mlkem), len(opened.x25519)} == {32}
    again, others = encapsulate(private.public)
    assert again.mlkem != ciphertext.mlkem
    assert again.x25519 != ciphertext.x25519
    assert others.mlkem != secrets.mlkem
    assert others.x25519 != secrets.x25519


@pytest.mark.parametrize("size", [0, 1215, 1217])
def test_a_hybrid_public_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(KemRejected, match="it must be 1216"):
        hybrid_encapsulate(bytes(size))


def test_a_hybrid_public_key_that_is_none_is_refused_by_its_part() -> None:
    public = hybrid_public_bytes(PRIVATE.public)
    with pytest.raises(KemRejected, match=r"FIPS 203, 7\.2"):
        hybrid_encapsulate(b"\xff" * 1184 + public[1184:])
    with pytest.raises(KemRejected, match="small order"):
        hybrid_encapsulate(public[:1184] + bytes(32))


@given(st.binary(min_size=96, max_size=96))
def test_private_key_survives_its_bytes(data: bytes) -> None:
    private = HybridPrivateKey.from_bytes(data)
    assert private.to_bytes() == data
    assert HybridPrivateKey.from_bytes(private.to_bytes()).public == private.public


@pytest.mark.parametrize("top_bit", [False, True])
@pytest.mark.parametrize("point", SMALL_ORDER)
def test_small_order_points_are_refused_by_both_sides(point: str, top_bit: bool) -> None:
    u = bytearray.fromhex(point)
    u[31] |= 0x80 if top_bit else 0
    ciphertext, _ = encapsulate(PRIVATE.public)
    with pytest.raises(KemRejected, match="small order"):
        PRIVATE.decapsulate(HybridCiphertext(ciphertext.mlkem, bytes(u)))
    with pytest.raises(KemRejected, match="small order"):
        encapsulate(HybridPublicKey(PRIVATE.public.mlkem, bytes(u)))


def test_encapsulation_key_out_of_range_is_refused() -> None:
    with pytest.raises(KemRejected, match=r"FIPS 203, 7\.2") as caught:
        encapsulate(HybridPublicKey(b"\xff" * 1184, PRIVATE.public.x25519))
    assert caught.value.code == "KEM_REJECTED"


@pytest.mark.parametrize("size", [0, 1183, 1185])
def test_wrong_sizes_of_mlkem_parts_are_refused(size: int) -> None:
    with pytest.raises(KemRejected, match="1184"):
        HybridPublicKey(bytes(size), BASE_POINT)
    with pytest.raises(KemRejected, match="1088"):
        HybridCiphertext(bytes(size), BASE_POINT)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_wrong_sizes_of_x25519_parts_are_refused(size: int) -> None:
    with pytest.raises(KemRejected, match="X25519"):
        HybridPublicKey(bytes(1184), bytes(size))
    with pytest.raises(KemRejected, match="X25519"):
        HybridCiphertext(bytes(1088), bytes(size))


@pytest.mark.parametrize("size", [0, 95, 97])
def test_wrong_size_of_a_private_key_is_refused(size: int) -> None:
    with pytest.raises(KemRejected, match="96"):
        HybridPrivateKey.from_bytes(bytes(size))


def test_private_key_and_shared_secrets_do_not_leak_by_accident() -> None:
    _, secrets = encapsulate(PRIVATE.public)
    for holder, name in ((PRIVATE, "HybridPrivateKey"), (secrets, "SharedSecrets")):
        assert repr(holder) == str(holder) == f"{holder}" == f"{name}(redacted)"
        for leak in (pickle.dumps, copy.copy, copy.deepcopy, hash):
            with pytest.raises(TypeError, match=name):
                leak(holder)
        with pytest.raises(TypeError, match="constant time"):
            assert holder == holder
