"""Every algorithm of keys against published answers, and the post-quantum ones against a second implementation."""

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from secrets import token_bytes
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from pqcrypto.kem import ml_kem_768, ml_kem_1024
from pqcrypto.sign import ml_dsa_44, ml_dsa_65, ml_dsa_87

import slh_dsa_reference as slh_dsa
from qkms_node.keys.algorithms import KEMS, MACS, SIGNATURES
from qkms_node.keys.errors import CiphertextRejected
from qkms_node.keys.rsa import RsaOaep, RsaPss
from qkms_node.keys.scheme import Manner
from qkms_node.keys.secret import VersionSecret

PLAIN, RAW = Manner(), Manner(raw=True)
Fields = dict[str, str]


def lines(*path: str) -> list[str]:
    target = files("cryptography_vectors")
    for part in path:
        target = target / part
    return target.read_text().splitlines()


def records(text: list[str], first: str) -> Iterator[Fields]:
    """Blocks of `name = value`, each beginning with the field `first`."""
    known: Fields = {}
    for line in text:
        name, equals, value = line.strip().partition(" = ")
        if not equals:
            continue
        if name == first and known:
            yield known
            known = {}
        known[name] = value
    yield known


def section(text: list[str], title: str) -> list[str]:
    start = text.index(f"[{title}]") + 1
    rest = text[start:]
    end = next((i for i, line in enumerate(rest) if line.startswith("[")), len(rest))
    return rest[:end]


@pytest.mark.parametrize(("algorithm", "name"), [("HMAC_SHA256", "sha256"), ("HMAC_SHA512", "sha512")])
def test_hmac_answers_of_rfc_4231(algorithm: str, name: str) -> None:
    count = 0
    for case in records(lines("HMAC", f"rfc-4231-{name}.txt"), "Len"):
        # A key shorter than a block is padded with zeros (RFC 2104, 2), so padding it changes nothing.
        material = VersionSecret(bytes.fromhex(case["Key"]).ljust(32, b"\0"))
        data, mac = bytes.fromhex(case["Msg"]), bytes.fromhex(case["MD"])
        whole = MACS[algorithm].mac(material, data)
        assert whole[: len(mac)] == mac
        assert MACS[algorithm].verify(material, data, whole)
        assert not MACS[algorithm].verify(material, data, whole[:-1])
        assert not MACS[algorithm].verify(material, data + b"x", whole)
        count += 1
    assert count >= 6


def test_ed25519_answers() -> None:
    scheme, cases = SIGNATURES["ED25519"], lines("asymmetric", "Ed25519", "sign.input")
    for case in cases:
        seed, public, message, signed, _ = case.split(":")
        material, data = VersionSecret(bytes.fromhex(seed)[:32]), bytes.fromhex(message)
        signature = bytes.fromhex(signed)[:64]
        assert scheme.public_key(material)[-32:].hex() == public
        assert scheme.sign(material, data, PLAIN) == signature
        assert scheme.verify(scheme.public_key(material), data, signature, PLAIN)
        assert not scheme.verify(scheme.public_key(material), data + b"x", signature, PLAIN)
    assert len(cases) == 1024


def ecdsa_public(case: Fields, curve: ec.EllipticCurve) -> bytes:
    numbers = ec.EllipticCurvePublicNumbers(int(case["Qx"], 16), int(case["Qy"], 16), curve)
    return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("algorithm", "title", "curve", "size"),
    [
        ("ECDSA_P256_SHA256", "P-256,SHA-256", ec.SECP256R1(), 32),
        ("ECDSA_P384_SHA384", "P-384,SHA-384", ec.SECP384R1(), 48),
    ],
)
def test_ecdsa_answers_of_nist(algorithm: str, title: str, curve: ec.EllipticCurve, size: int) -> None:
    scheme = SIGNATURES[algorithm]
    seen = set()
    for case in records(section(lines("asymmetric", "ECDSA", "FIPS_186-3", "SigVer.rsp"), title), "Msg"):
        good = case["Result"].startswith("P")
        try:
            public = ecdsa_public(case, curve)
        except ValueError:
            assert not good, "a point off the curve"
            continue
        raw = b"".join(int(case[part], 16).to_bytes(size, "big") for part in ("R", "S"))
        message = bytes.fromhex(case["Msg"])
        assert scheme.verify(public, message, raw, RAW) is good
        digest = hashlib.new("sha256" if size == 32 else "sha384", message).digest()
        assert scheme.verify(public, digest, raw, Manner(digested=True, raw=True)) is good
        seen.add(good)
    assert seen == {True, False}
    for case in records(section(lines("asymmetric", "ECDSA", "FIPS_186-3", "SigGen.rsp"), title), "Msg"):
        raw = b"".join(int(case[part], 16).to_bytes(size, "big") for part in ("R", "S"))
        assert scheme.verify(ecdsa_public(case, curve), bytes.fromhex(case["Msg"]), raw, RAW)


def pss_encoded(message: bytes, salt: bytes, bits: int) -> int:
    """EMSA-PSS-ENCODE (RFC 8017, 9.1.1) with SHA-256."""
    size = (bits - 1 + 7) // 8
    digest = hashlib.sha256(bytes(8) + hashlib.sha256(message).digest() + salt).digest()
    block = b"\x01".rjust(size - len(salt) - 33, b"\0") + salt
    masked = int.from_bytes(block, "big") ^ int.from_bytes(slh_dsa.mgf1("sha256", digest, len(block)), "big")
    masked &= (1 << (len(block) * 8 - (8 * size - bits + 1))) - 1
    return int.from_bytes(masked.to_bytes(len(block), "big") + digest + b"\xbc", "big")


def test_rsa_pss_answers_of_nist_have_another_salt_and_are_refused() -> None:
    """NIST's answers at 3072 bits have salts of 0 bytes; FIPS 186-5 allows them, these keys do not."""
    text = section(lines("asymmetric", "RSA", "FIPS_186-2", "SigGenPSS_186-3.rsp"), "mod = 3072")
    [key] = records([line for line in text if line[:1] in "ne"], "n")
    public = rsa.RSAPublicNumbers(int(key["e"], 16), int(key["n"], 16)).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    numbers, count = public.public_numbers(), 0
    for case in records([line for line in text if line[:1] in "SM"], "SHAAlg"):
        if case["SHAAlg"] == "SHA256":
            message, signature = bytes.fromhex(case["Msg"]), bytes.fromhex(case["S"])
            opened = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n)
            assert opened == pss_encoded(message, b"", 3072), "what the next test relies on is right"
            assert not RsaPss(3072).verify(encoded, message, signature, PLAIN)
            count += 1
    assert count == 10


def test_rsa_pss_signatures_made_as_rfc_8017_says_are_accepted() -> None:
    scheme = RsaPss(3072)
    material = scheme.draw(token_bytes)
    private = load_der_private_key(bytes(material.reveal()), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(private, rsa.RSAPrivateKey)
    n, d = private.public_key().public_numbers().n, private.private_numbers().d
    for length, accepted in ((32, True), (0, False), (10, False), (31, False)):
        made = pow(pss_encoded(b"message", bytes(range(length)), 3072), d, n).to_bytes(384, "big")
        assert scheme.verify(scheme.public_key(material), b"message", made, PLAIN) is accepted
        assert not scheme.verify(scheme.public_key(material), b"other", made, PLAIN)


def test_our_rsa_pss_signatures_open_as_rfc_8017_says() -> None:
    scheme = RsaPss(3072)
    material = scheme.draw(token_bytes)
    public = load_der_public_key(scheme.public_key(material))
    assert isinstance(public, rsa.RSAPublicKey)
    numbers = public.public_numbers()
    assert (numbers.e, numbers.n.bit_length()) == (65537, 3072)
    salts = set()
    for manner, message in ((PLAIN, b"message"), (Manner(digested=True), hashlib.sha256(b"message").digest())):
        signature = scheme.sign(material, message, manner)
        opened = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(384, "big")
        digest = opened[-33:-1]
        block = int.from_bytes(opened[:-33], "big") ^ int.from_bytes(
            slh_dsa.mgf1("sha256", digest, 384 - 33), "big"
        )
        salt = block.to_bytes(384 - 33, "big")[-32:]
        assert pss_encoded(b"message", salt, 3072) == int.from_bytes(opened, "big")
        salts.add(salt)
    assert len(salts) == 2


def oaep_cases() -> Iterator[tuple[VersionSecret, bytes, bytes]]:
    """Private key, message, ciphertext of the vectors whose hash and MGF hash are SHA-256."""
    text = "\n".join(lines("asymmetric", "RSA", "oaep-custom", "oaep-sha256-sha256.txt"))
    for example in text.split("# Example\n")[1:]:
        names = (
            r"# (Modulus|Public exponent|Exponent|Prime 1|Prime 2|Prime exponent 1|Prime exponent 2|Coefficient)"
            r": *\n([0-9a-f\n]+)"
        )
        private = example[example.index("# Private key") :]
        found = {name: int(value.replace("\n", ""), 16) for name, value in re.findall(names, private)}
        numbers = rsa.RSAPrivateNumbers(
            found["Prime 1"], found["Prime 2"], found["Exponent"], found["Prime exponent 1"],
            found["Prime exponent 2"], found["Coefficient"],
            rsa.RSAPublicNumbers(found["Public exponent"], found["Modulus"]),
        )  # fmt: skip
        key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
        material = VersionSecret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        for message, ciphertext in re.findall(
            r"# Message: *\n([0-9a-f\n]+)# Encryption: *\n([0-9a-f\n]+)", private
        ):
            yield material, bytes.fromhex(message), bytes.fromhex(ciphertext)


def test_rsa_oaep_answers() -> None:
    count = 0
    for material, message, ciphertext in oaep_cases():
        scheme = RsaOaep(len(ciphertext) * 8)
        assert scheme.decrypt(material, ciphertext) == message
        with pytest.raises(CiphertextRejected) as caught:
            scheme.decrypt(material, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]))
        assert caught.value.__cause__ is None
        count += 1
    assert count >= 6


ML_DSA = [("ML_DSA_44", ml_dsa_44), ("ML_DSA_65", ml_dsa_65), ("ML_DSA_87", ml_dsa_87)]


@pytest.mark.parametrize("algorithm", [name for name, _ in ML_DSA])
def test_ml_dsa_answers(algorithm: str) -> None:
    scheme, count = SIGNATURES[algorithm], 0
    name = f"kat_MLDSA_{algorithm[-2:]}_det_pure.rsp"
    for case in records(lines("asymmetric", "MLDSA", name), "count"):
        material = VersionSecret(bytes.fromhex(case["xi"]))
        message, manner = bytes.fromhex(case["msg"]), Manner(context=bytes.fromhex(case.get("ctx", "")))
        signature = bytes.fromhex(case["sm"])[: -len(message)]
        public = scheme.public_key(material)
        assert public.endswith(bytes.fromhex(case["pk"]))
        assert scheme.verify(public, message, signature, manner)
        assert not scheme.verify(public, message, signature, Manner(context=b"another"))
        assert not scheme.verify(public, message + b"x", signature, manner)
        count += 1
    assert count == 100


@pytest.mark.parametrize(("algorithm", "second"), ML_DSA)
def test_ml_dsa_both_ways_with_a_second_implementation(algorithm: str, second: ModuleType) -> None:
    scheme = SIGNATURES[algorithm]
    material = scheme.draw(token_bytes)
    public = scheme.public_key(material)
    raw = public[-second.PUBLIC_KEY_SIZE :]
    # The second one refuses contexts of 254 and 255 bytes; FIPS 204 allows 255.
    for context in (b"", b"c", bytes(253)):
        second.verify(raw, b"message", scheme.sign(material, b"message", Manner(context=context)), context or None)
    theirs, private = (bytes(half) for half in second.keygen())
    head = public[: -len(raw)]
    for context in (b"", b"c", bytes(253)):
        signature = bytes(second.sign(private, b"message", context or None))
        assert scheme.verify(head + theirs, b"message", signature, Manner(context=context))
        assert not scheme.verify(head + theirs, b"message", signature, Manner(context=context + b"x"))


@pytest.mark.parametrize("algorithm", [name for name, _ in ML_DSA])
def test_ml_dsa_mu_is_the_message_hashed_with_key_and_context(algorithm: str) -> None:
    """FIPS 204, 6.2: mu = H(H(pk, 64) || 0 || |ctx| || ctx || M, 64)."""
    scheme = SIGNATURES[algorithm]
    material = scheme.draw(token_bytes)
    public, raw_size = scheme.public_key(material), dict(ML_DSA)[algorithm].PUBLIC_KEY_SIZE
    tr = hashlib.shake_256(public[-raw_size:]).digest(64)
    mu = hashlib.shake_256(tr + b"\0\x03ctx" + b"message").digest(64)
    signature = scheme.sign(material, mu, Manner(digested=True))
    assert scheme.verify(public, b"message", signature, Manner(context=b"ctx"))
    other = scheme.sign(material, b"message", Manner(context=b"ctx"))
    assert scheme.verify(public, mu, other, Manner(digested=True))
    assert not scheme.verify(public, bytes(64), other, Manner(digested=True))


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [("SLH_DSA_SHA2_128F", slh_dsa.SHA2_128F), ("SLH_DSA_SHA2_192F", slh_dsa.SHA2_192F)],
)
@pytest.mark.parametrize("context", [b"", b"c" * 255])
def test_slh_dsa_signatures_verify_as_fips_205_says(
    algorithm: str, parameters: slh_dsa.Parameters, context: bytes
) -> None:
    scheme = SIGNATURES[algorithm]
    material = scheme.draw(token_bytes)
    raw = scheme.public_key(material)[-2 * parameters.n :]
    signature = scheme.sign(material, b"message", Manner(context=context))
    assert slh_dsa.verify(parameters, raw, b"message", signature, context)
    assert not slh_dsa.verify(parameters, raw, b"other", signature, context)
    assert not slh_dsa.verify(parameters, raw, b"message", signature, context[1:] + b"x")
    assert scheme.verify(scheme.public_key(material), b"message", signature, Manner(context=context))


@pytest.mark.parametrize(("algorithm", "oid"), [("SLH_DSA_SHA2_128F", 21), ("SLH_DSA_SHA2_192F", 23)])
def test_slh_dsa_public_keys_are_subject_public_key_info(algorithm: str, oid: int) -> None:
    """RFC 9909: an AlgorithmIdentifier without parameters, and the raw key as a bit string."""
    scheme = SIGNATURES[algorithm]
    material = scheme.draw(token_bytes)
    raw = bytes(material.reveal()[-len(material.reveal()) // 2 :])
    identifier = bytes.fromhex("300b06096086480165030403") + bytes([oid])
    bits = bytes([3, len(raw) + 1, 0]) + raw
    assert scheme.public_key(material) == bytes([0x30, len(identifier) + len(bits)]) + identifier + bits


@pytest.mark.parametrize("algorithm", ["ML_KEM_768", "ML_KEM_1024"])
def test_ml_kem_answers(algorithm: str) -> None:
    scheme, count = KEMS[algorithm], 0
    name = f"kat_MLKEM_{algorithm.rpartition('_')[2]}.rsp"
    for case in records(lines("asymmetric", "MLKEM", name), "count"):
        known = {part: bytes.fromhex(case[part]) for part in ("d", "z", "pk", "ct", "ss", "ct_n", "ss_n")}
        material = VersionSecret(known["d"] + known["z"])
        assert scheme.public_key(material).endswith(known["pk"])
        assert scheme.decapsulate(material, known["ct"]) == known["ss"]
        assert scheme.decapsulate(material, known["ct_n"]) == known["ss_n"]
        count += 1
        if count == 200:
            break
    assert count == 200


@pytest.mark.parametrize(("algorithm", "second"), [("ML_KEM_768", ml_kem_768), ("ML_KEM_1024", ml_kem_1024)])
def test_ml_kem_both_ways_with_a_second_implementation(algorithm: str, second: ModuleType) -> None:
    scheme = KEMS[algorithm]
    material = scheme.draw(token_bytes)
    public = scheme.public_key(material)
    ciphertext, secret = second.encaps(public[-second.PUBLIC_KEY_SIZE :])
    assert scheme.decapsulate(material, bytes(ciphertext)) == bytes(secret)
    theirs, private = second.keygen()
    ours, shared = scheme.encapsulate(public[: -second.PUBLIC_KEY_SIZE] + bytes(theirs))
    assert bytes(second.decaps(private, ours)) == shared
