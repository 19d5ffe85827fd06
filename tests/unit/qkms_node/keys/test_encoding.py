"""Material on its way in and out: each algorithm's encoding, as other tools write it, and what is refused."""

import hashlib
import secrets
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from pqcrypto.kem import ml_kem_768, ml_kem_1024
from pqcrypto.sign import ml_dsa_44, ml_dsa_65, ml_dsa_87, slh_dsa_sha2_128f

from qkms import der
from qkms_node.keys import identifiers
from qkms_node.keys.algorithms import ALGORITHMS, WITH_PUBLIC_KEY
from qkms_node.keys.encoding import ENCODINGS
from qkms_node.keys.errors import MaterialRejected
from qkms_node.keys.importing import exported_material, imported_material
from qkms_node.keys.pkcs8 import PrivateKeyInfo, subject_public_key

BY_LIBRARY = {
    "ED25519": ed25519.Ed25519PrivateKey.generate,
    "ECDSA_P256_SHA256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ECDSA_P384_SHA384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA_3072_PSS_SHA256": lambda: rsa.generate_private_key(65537, 3072),
    "ML_DSA_44": mldsa.MLDSA44PrivateKey.generate,
    "ML_DSA_65": mldsa.MLDSA65PrivateKey.generate,
    "ML_DSA_87": mldsa.MLDSA87PrivateKey.generate,
    "ML_KEM_768": mlkem.MLKEM768PrivateKey.generate,
    "ML_KEM_1024": mlkem.MLKEM1024PrivateKey.generate,
}
SEEDED = ("ED25519", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ML_KEM_768", "ML_KEM_1024")
EXPANDED = SEEDED[1:]


@cache
def _made(algorithm: str, number: int) -> Any:
    return BY_LIBRARY[algorithm]()


def made(algorithm: str, number: int = 0) -> Any:
    """A private key of the library; another one for each number."""
    return _made(algorithm, number)


def pkcs8(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return data


def spki(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def with_public(data: bytes, public: bytes) -> bytes:
    """OneAsymmetricKey of RFC 5958: version 1, an attribute, the public key."""
    info = PrivateKeyInfo.from_bytes(data)
    attribute = der.tlv(der.SEQUENCE, der.tlv(der.OBJECT_IDENTIFIER, b"\x2a\x03") + der.tlv(0x31, b"\x05\0"))
    parts = der.tlv(der.INTEGER, b"\1") + info.algorithm + der.tlv(der.OCTET_STRING, info.private)
    return der.tlv(der.SEQUENCE, parts + der.tlv(0xA0, attribute) + der.tlv(0x81, b"\0" + public))


def taken(algorithm: str, outside: bytes) -> tuple[bytes, bytes]:
    """The public half of what is taken in, and what would be given out again."""
    with imported_material(algorithm, outside, secrets.token_bytes) as material:
        return ALGORITHMS[algorithm].public_key(material), exported_material(algorithm, material)


def refusal(algorithm: str, outside: bytes) -> str:
    with pytest.raises(MaterialRejected) as refused:
        imported_material(algorithm, outside, secrets.token_bytes)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    return str(refused.value)


def test_every_algorithm_of_the_cluster_has_an_encoding() -> None:
    assert set(ENCODINGS) == set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if not a.startswith("RSA_")])
def test_what_is_given_out_is_taken_in_elsewhere(algorithm: str) -> None:
    scheme = ALGORITHMS[algorithm]
    with scheme.draw(secrets.token_bytes) as drawn:
        outside = exported_material(algorithm, drawn)
        with imported_material(algorithm, outside, secrets.token_bytes) as again:
            assert again.reveal() == drawn.reveal()
        if algorithm in WITH_PUBLIC_KEY:
            assert taken(algorithm, outside) == (scheme.public_key(drawn), outside)


@pytest.mark.parametrize("algorithm", BY_LIBRARY)
def test_keys_of_the_library_are_taken_in_and_given_out_unchanged(algorithm: str) -> None:
    outside = pkcs8(made(algorithm))
    assert taken(algorithm, outside) == (spki(made(algorithm)), outside)
    assert pkcs8(load_der_private_key(outside, None)) == outside


@pytest.mark.parametrize("algorithm", [a for a in BY_LIBRARY if not a.startswith("RSA_")])
def test_a_public_key_beside_the_private_one_must_be_its_own(algorithm: str) -> None:
    own, others = (subject_public_key(spki(made(algorithm, number))) for number in (0, 1))
    data = pkcs8(made(algorithm))
    assert taken(algorithm, with_public(data, own)) == (spki(made(algorithm)), data)
    assert "public key is not that" in refusal(algorithm, with_public(data, others))


@pytest.mark.parametrize("algorithm", SEEDED)
def test_a_bare_seed_is_taken_in(algorithm: str) -> None:
    seed = made(algorithm).private_bytes_raw()
    assert taken(algorithm, seed)[0] == spki(made(algorithm))
    refusal(algorithm, seed[:-1])
    assert "over and over" in refusal(algorithm, bytes(len(seed)))


def test_keys_of_another_algorithm_or_size_are_named_and_refused() -> None:
    keys = {algorithm: pkcs8(made(algorithm)) for algorithm in BY_LIBRARY}
    for algorithm in keys:
        for other, data in keys.items():
            if other != algorithm:
                assert f"no material for {algorithm}" in refusal(algorithm, data)
    assert "of Ed25519, not of ML-DSA-65" in refusal("ML_DSA_65", keys["ED25519"])
    assert "P-384, not of elliptic curve P-256" in refusal("ECDSA_P256_SHA256", keys["ECDSA_P384_SHA384"])
    assert "3072 bits, the key takes 4096" in refusal("RSA_4096_OAEP_SHA256", keys["RSA_3072_PSS_SHA256"])
    assert "another algorithm" in refusal("ED25519", pkcs8(ec.generate_private_key(ec.SECP521R1())))


@pytest.mark.parametrize("algorithm", BY_LIBRARY)
def test_truncated_extended_or_encrypted_keys_are_refused(algorithm: str) -> None:
    data = pkcs8(made(algorithm))
    for bad in (b"", data[:-1], data[:20], data + b"\0", b"x" + data, data.hex().encode()):
        refusal(algorithm, bad)


def test_an_elliptic_key_with_the_point_or_the_curve_of_another_is_refused() -> None:
    one, other = made("ECDSA_P256_SHA256"), made("ECDSA_P256_SHA256", 1)
    point, wrong = (
        k.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for k in (one, other)
    )
    swapped = pkcs8(one).replace(point, wrong)
    assert swapped != pkcs8(one)
    assert "is not that of its private key" in refusal("ECDSA_P256_SHA256", swapped)


def elliptic(scalar: int, parameters: bytes = b"") -> bytes:
    """PKCS #8 with the shortest ECPrivateKey (RFC 5915): no public key."""
    inner = der.tlv(der.INTEGER, b"\1") + der.tlv(der.OCTET_STRING, scalar.to_bytes(32, "big")) + parameters
    return PrivateKeyInfo(identifiers.P256, der.tlv(der.SEQUENCE, inner)).to_bytes()


def test_an_elliptic_key_without_its_point_is_completed() -> None:
    scalar = made("ECDSA_P256_SHA256").private_numbers().private_value
    assert taken("ECDSA_P256_SHA256", elliptic(scalar)) == (
        spki(made("ECDSA_P256_SHA256")),
        pkcs8(made("ECDSA_P256_SHA256")),
    )
    p384 = der.tlv(0xA0, bytes.fromhex("06052b81040022"))
    refusal("ECDSA_P256_SHA256", elliptic(scalar, p384))


def test_weak_or_impossible_scalars_are_refused() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for scalar in (0, order, order + 1):
        refusal("ECDSA_P256_SHA256", elliptic(scalar))
    for scalar in (1, 7, 2**128 - 1):
        assert "short" in refusal("ECDSA_P256_SHA256", elliptic(scalar))


@pytest.mark.parametrize("name", ["p", "q", "d", "dmp1", "dmq1", "iqmp"])
def test_an_rsa_key_with_a_number_of_another_is_refused(name: str) -> None:
    info = PrivateKeyInfo.from_bytes(pkcs8(made("RSA_3072_PSS_SHA256")))
    own, wrong = (getattr(made("RSA_3072_PSS_SHA256", number).private_numbers(), name) for number in (0, 1))
    fields = der.whole(info.private, der.SEQUENCE).replace(integer(own), integer(wrong))
    swapped = PrivateKeyInfo(info.algorithm, der.tlv(der.SEQUENCE, fields)).to_bytes()
    assert swapped != info.to_bytes()
    refusal("RSA_3072_PSS_SHA256", swapped)


def integer(number: int) -> bytes:
    """DER of a positive number: as many bytes as it needs, and one more where its highest bit would be a sign."""
    return der.tlv(der.INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


@pytest.mark.parametrize("algorithm", ["RSA_3072_PSS_SHA256", "ECDSA_P256_SHA256"])
def test_no_altered_byte_of_a_key_with_its_public_half_inside_is_taken(algorithm: str) -> None:
    data = pkcs8(made(algorithm))
    for place in {secrets.randbelow(len(data)) for _ in range(300)}:
        refusal(algorithm, data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :])


def test_rsa_with_another_exponent_and_other_primes_than_two_are_refused() -> None:
    three = pkcs8(rsa.generate_private_key(3, 3072))
    assert "exponent" in refusal("RSA_3072_PSS_SHA256", three)
    info = PrivateKeyInfo.from_bytes(pkcs8(made("RSA_3072_PSS_SHA256")))
    multi = der.tlv(der.SEQUENCE, b"\2\1\1" + der.whole(info.private, der.SEQUENCE)[3:])
    assert "two factors" in refusal("RSA_3072_PSS_SHA256", PrivateKeyInfo(info.algorithm, multi).to_bytes())


def nist(algorithm: str, inner: bytes) -> bytes:
    return PrivateKeyInfo(getattr(identifiers, algorithm), inner).to_bytes()


def both(seed: bytes, expanded: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, der.tlv(der.OCTET_STRING, seed) + der.tlv(der.OCTET_STRING, expanded))


def expanded_key(algorithm: str, seed: bytes, public: bytes) -> bytes:
    """An expanded key whose compared parts follow from the seed by FIPS 203 and 204; the rest is noise."""
    if algorithm.startswith("ML_KEM"):
        secret_bytes = {"ML_KEM_768": 1152, "ML_KEM_1024": 1536}[algorithm]
        return secrets.token_bytes(secret_bytes) + public + hashlib.sha3_256(public).digest() + seed[32:]
    size, dimensions = {
        "ML_DSA_44": (2560, b"\4\4"),
        "ML_DSA_65": (4032, b"\6\5"),
        "ML_DSA_87": (4896, b"\x08\7"),
    }[algorithm]
    rho_prime_k = hashlib.shake_256(seed + dimensions).digest(128)
    assert rho_prime_k[:32] == public[:32], "rho, as the library derives it"
    head = public[:32] + rho_prime_k[96:] + hashlib.shake_256(public).digest(64)
    return head + secrets.token_bytes(size - len(head))


@pytest.mark.parametrize("algorithm", EXPANDED)
def test_seed_and_expanded_key_must_belong_together(algorithm: str) -> None:
    seed = made(algorithm).private_bytes_raw()
    public = subject_public_key(spki(made(algorithm)))
    good = expanded_key(algorithm, seed, public)
    assert taken(algorithm, nist(algorithm, both(seed, good)))[1] == pkcs8(made(algorithm))
    place = -1 if algorithm.startswith("ML_KEM") else 40
    altered = bytearray(good)
    altered[place] ^= 1
    for bad in (bytes(altered), good[:-1], good + b"\0", b""):
        assert "not that of its seed" in refusal(algorithm, nist(algorithm, both(seed, bad)))
    assert "not that of its seed" in refusal(
        algorithm, nist(algorithm, both(secrets.token_bytes(len(seed)), good))
    )


@pytest.mark.parametrize("algorithm", EXPANDED)
def test_an_expanded_key_alone_has_lost_its_seed(algorithm: str) -> None:
    library = {
        "ML_DSA_44": ml_dsa_44,
        "ML_DSA_65": ml_dsa_65,
        "ML_DSA_87": ml_dsa_87,
        "ML_KEM_768": ml_kem_768,
        "ML_KEM_1024": ml_kem_1024,
    }[algorithm]
    _, expanded = library.keygen()
    inner = der.tlv(der.OCTET_STRING, bytes(expanded))
    assert "without its seed" in refusal(algorithm, nist(algorithm, inner))


def test_the_parts_of_an_expanded_key_lie_where_another_library_puts_them() -> None:
    for library, begin, tail in ((ml_kem_768, 1152, 32), (ml_kem_1024, 1536, 32)):
        public, expanded = (bytes(part) for part in library.keygen())
        assert expanded[begin:-tail] == public + hashlib.sha3_256(public).digest()
    for signing in (ml_dsa_44, ml_dsa_65, ml_dsa_87):
        public, expanded = (bytes(part) for part in signing.keygen())
        assert expanded[:32] == public[:32]
        assert expanded[64:128] == hashlib.shake_256(public).digest(64)


def test_an_slh_dsa_key_is_plain_and_its_public_half_is_checked() -> None:
    _, private = (bytes(part) for part in slh_dsa_sha2_128f.keygen())
    _, other = (bytes(part) for part in slh_dsa_sha2_128f.keygen())
    algorithm = "SLH_DSA_SHA2_128F"
    public, given = taken(algorithm, nist(algorithm, private))
    assert (public[-32:], given) == (private[32:], nist(algorithm, private))
    assert "public key is not that" in refusal(algorithm, nist(algorithm, private[:48] + other[48:]))
    assert "63 bytes" in refusal(algorithm, nist(algorithm, private[:-1]))


def test_symmetric_material_has_the_length_its_algorithm_needs() -> None:
    for algorithm, size in (("AES_256_GCM", 32), ("HMAC_SHA256", 32), ("HMAC_SHA512", 64), ("X25519MLKEM768", 96)):
        taken(algorithm, bytes(range(size)))
        for length in (0, size - 1, size + 1):
            assert f"the key takes {size}" in refusal(algorithm, bytes(range(length)))
        assert "over and over" in refusal(algorithm, b"\xaa" * size)


@pytest.mark.parametrize("algorithm", SEEDED)
def test_a_seed_of_another_size_is_refused(algorithm: str) -> None:
    info = PrivateKeyInfo.from_bytes(pkcs8(made(algorithm)))
    tag, seed = info.private[0], der.whole(info.private, info.private[0])
    shorter = PrivateKeyInfo(info.algorithm, der.tlv(tag, seed[:-1])).to_bytes()
    assert f"{len(seed) - 1} bytes" in refusal(algorithm, shorter)


def test_what_is_malformed_inside_is_refused() -> None:
    for algorithm in ("ED25519", "ECDSA_P256_SHA256"):
        info = PrivateKeyInfo.from_bytes(pkcs8(made(algorithm)))
        assert refusal(algorithm, PrivateKeyInfo(info.algorithm, b"\x30\x81").to_bytes())
    torn = with_public(pkcs8(made("ED25519")), b"").replace(b"\x81\x01\0", b"\x81\x01\1")
    assert "whole number of bytes" in refusal("ED25519", torn)


def test_a_version_that_no_standard_has_is_refused() -> None:
    other = pkcs8(made("ED25519")).replace(b"\x02\x01\x00", b"\x02\x01\x02", 1)
    assert "version" in refusal("ED25519", other)
