"""Private keys brought to a node and taken out again, as openssl and `cryptography` make and wrap them."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any, cast
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)
from tests.unit.qkms_client.conftest import Sdk

from qkms.wrapping import Method
from qkms_client import Client, Grade
from qkms_client import errors as e
from qkms_client.testing import MemoryServer

MESSAGE = b"attack at dawn"
OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
PSS = padding.PSS(padding.MGF1(SHA256()), 32)
AES_RSA = Method.RSA_OAEP_SHA256_AES_KWP

BY_OPENSSL = {
    "ED25519": ("-algorithm", "ED25519"),
    "ECDSA_P256_SHA256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "ECDSA_P384_SHA384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "RSA_3072_PSS_SHA256": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"),
}
BY_LIBRARY: dict[str, Callable[[], Any]] = {
    "RSA_4096_OAEP_SHA256": lambda: rsa.generate_private_key(65537, 4096),
    "ML_DSA_44": mldsa.MLDSA44PrivateKey.generate,
    "ML_DSA_65": mldsa.MLDSA65PrivateKey.generate,
    "ML_DSA_87": mldsa.MLDSA87PrivateKey.generate,
    "ML_KEM_768": mlkem.MLKEM768PrivateKey.generate,
    "ML_KEM_1024": mlkem.MLKEM1024PrivateKey.generate,
}


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


@pytest.fixture(scope="module")
def here(server: MemoryServer) -> Iterator[Client]:
    with server.client("payments") as client:
        yield client


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Client]:
    """A client of another cluster."""
    with MemoryServer() as running, running.client("payments") as client:
        yield client


@pytest.fixture
async def kms(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("payments"), kind)
    yield made
    await made.close()


@pytest.fixture
def key() -> str:
    return f"key-{uuid4().hex[:12]}"


@cache
def rsa_pem() -> bytes:
    """A private key that takes a second to make."""
    return pem_of("RSA_3072_PSS_SHA256")


def pem_of(algorithm: str) -> bytes:
    """A fresh private key in PEM, of another program's making."""
    if algorithm in BY_OPENSSL:
        return subprocess.run(
            ["openssl", "genpkey", *BY_OPENSSL[algorithm]], capture_output=True, check=True
        ).stdout
    made = BY_LIBRARY[algorithm]()
    return cast(bytes, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def der_of(pem: bytes) -> bytes:
    return load_pem_private_key(pem, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def wrapped_elsewhere(public_key: bytes, material: bytes) -> bytes:
    """RSA_AES_KEY_WRAP_SHA_256, as the manuals of AWS KMS and Google Cloud KMS spell it."""
    once = os.urandom(32)
    public = cast(rsa.RSAPublicKey, load_der_public_key(public_key))
    return public.encrypt(once, OAEP) + aes_key_wrap_with_padding(once, material)


def bring(client: Client, key: str, algorithm: str, private_key: bytes) -> None:
    """A key whose first version is `private_key`, in use."""
    client.create_key(key, algorithm=algorithm, skip_initial_version=True, exportable=True)
    imported = client.import_private_key(key, private_key, timeout=60)
    assert (imported.version, imported.grade) == (1, Grade.IMPORTED)
    validated = client.validate_version(imported)
    assert validated.staging is not None
    assert set(validated.staging.confirmed) == set(validated.staging.voters) != set()
    client.activate_version(imported)


def proven(client: Client, key: str, algorithm: str, private: Any) -> None:
    """The cluster does with the key what its former owner can check."""
    public = private.public_key()
    match algorithm:
        case "RSA_4096_OAEP_SHA256":
            assert client.decrypt(key, public.encrypt(MESSAGE, OAEP), version=1).plaintext == MESSAGE
        case "ML_KEM_768" | "ML_KEM_1024":
            secret, ciphertext = public.encapsulate()
            assert client.decapsulate(key, ciphertext, version=1).shared_secret == secret
        case "ECDSA_P256_SHA256":
            public.verify(client.sign(key, MESSAGE).signature, MESSAGE, ec.ECDSA(SHA256()))
        case "ECDSA_P384_SHA384":
            public.verify(client.sign(key, MESSAGE).signature, MESSAGE, ec.ECDSA(SHA384()))
        case "RSA_3072_PSS_SHA256":
            public.verify(client.sign(key, MESSAGE).signature, MESSAGE, PSS, SHA256())
        case _:
            public.verify(client.sign(key, MESSAGE).signature, MESSAGE)


@pytest.mark.parametrize("algorithm", [*BY_OPENSSL, *BY_LIBRARY])
def test_a_key_of_another_program_serves_here_and_after_an_export_elsewhere(
    here: Client, elsewhere: Client, key: str, algorithm: str
) -> None:
    pem = rsa_pem() if algorithm == "RSA_3072_PSS_SHA256" else pem_of(algorithm)
    private = load_pem_private_key(pem, None)
    bring(here, key, algorithm, pem)
    proven(here, key, algorithm, private)
    exported = here.export_version(key, 1).material
    assert exported == der_of(pem), "the same encoding comes out"
    if algorithm.startswith("RSA"):
        return  # Checking its factors again takes a second.
    bring(elsewhere, key, algorithm, exported)
    proven(elsewhere, key, algorithm, private)
    assert elsewhere.get_public_key(key).public_key == here.get_public_key(key).public_key


@pytest.mark.parametrize("algorithm", ["SLH_DSA_SHA2_128F", "X25519MLKEM768", "HMAC_SHA512"])
def test_what_no_other_program_here_makes_goes_from_cluster_to_cluster(
    here: Client, elsewhere: Client, key: str, algorithm: str
) -> None:
    here.create_key(key, algorithm=algorithm, exportable=True)
    bring(elsewhere, key, algorithm, here.export_version(key, 1).material)
    match algorithm:
        case "X25519MLKEM768":
            sent = here.encapsulate(key)
            assert elsewhere.decapsulate(key, sent).shared_secret == sent.shared_secret
        case "HMAC_SHA512":
            assert elsewhere.verify_mac(key, MESSAGE, here.mac(key, MESSAGE)).valid
        case _:
            assert here.verify(key, MESSAGE, elsewhere.sign(key, MESSAGE)).valid


def test_the_form_of_aws_and_google_goes_in_and_out(here: Client, key: str) -> None:
    pem = rsa_pem()
    here.create_key(key, algorithm="RSA_3072_PSS_SHA256", skip_initial_version=True, exportable=True)
    parameters = here.get_import_parameters(key, AES_RSA)
    assert cast(rsa.RSAPublicKey, load_der_public_key(parameters.public_key)).key_size == 4096
    imported = here.import_wrapped(parameters, wrapped_elsewhere(parameters.public_key, der_of(pem)))
    here.validate_version(imported)
    here.activate_version(imported)
    mine = rsa.generate_private_key(65537, 3072)
    spki = mine.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    out = here.export_wrapped(key, 1, method=AES_RSA, public_key=spki)
    once = mine.decrypt(out[:384], OAEP)
    assert aes_key_unwrap_with_padding(once, out[384:]) == der_of(pem)
    with pytest.raises(e.WrappingRejected):
        here.export_wrapped(key, 1, method=Method.RSA_OAEP_SHA256, public_key=spki)


async def test_both_clients_bring_a_key_from_an_encrypted_file(kms: Sdk, key: str) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    await kms("create_key", key, algorithm="ED25519", skip_initial_version=True)
    with pytest.raises(e.PrivateKeyInvalid):
        await kms("import_private_key", key, pem, b"another")
    imported = await kms("import_private_key", key, pem, b"secret")
    await kms("validate_version", imported)
    await kms("activate_version", imported)
    private.public_key().verify((await kms("sign", key, MESSAGE)).signature, MESSAGE)


def test_what_is_not_what_the_key_needs_is_refused_and_changes_nothing(
    here: Client, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    one, other = (der_of(pem_of("ECDSA_P256_SHA256")) for _ in range(2))
    points = [
        cast(ec.EllipticCurvePrivateKey, load_der_private_key(data, None))
        .public_key()
        .public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for data in (one, other)
    ]
    here.create_key(key, algorithm="ECDSA_P256_SHA256")
    parameters = here.get_import_parameters(key, AES_RSA)
    before = here.get_key(key)
    refused: list[str] = []
    for bad, reason in (
        (der_of(pem_of("ED25519")), "of Ed25519"),
        (der_of(pem_of("ECDSA_P384_SHA384")), "curve P-384"),
        (one[:-1], "PKCS #8"),
        (one.replace(points[0], points[1]), "not that of its private key"),
    ):
        with pytest.raises(e.MaterialRejected, match=reason) as caught:
            here.import_wrapped(parameters, wrapped_elsewhere(parameters.public_key, bad))
        assert caught.value.reason == "MATERIAL_REJECTED"
        assert [violation.field for violation in caught.value.fields] == ["wrapped_material"]
        refused.append(f"{caught.value!r} {caught.value} {caught.value.metadata}")
    good = wrapped_elsewhere(parameters.public_key, one)
    for bad in (good[:-1], good[:512], good[:40], good[:-1] + bytes([good[-1] ^ 1]), b"\0" + good[1:], one):
        with pytest.raises(e.WrappingRejected) as tampered:
            here.import_wrapped(parameters, bad)
        refused.append(f"{tampered.value!r} {tampered.value}")
    assert len(set(refused[4:])) == 1, "what did not match is not told"
    assert here.get_key(key) == before
    scalar = cast(ec.EllipticCurvePrivateKey, load_der_private_key(one, None)).private_numbers().private_value
    told = "".join(capfd.readouterr()) + "".join(refused)
    for shape in (f"{scalar:x}", str(scalar), repr(scalar.to_bytes(32, "big"))[2:-1]):
        assert shape[8:32] not in told
    assert here.import_wrapped(parameters, good).version == 2, "the wrapping key still serves"


def test_a_damaged_rsa_key_is_refused_by_the_node(here: Client, key: str) -> None:
    data = der_of(rsa_pem())
    numbers = cast(rsa.RSAPrivateKey, load_der_private_key(data, None)).private_numbers()
    p = numbers.p.to_bytes(192, "big")
    damaged = data.replace(p, p[:-1] + bytes([p[-1] ^ 2]))
    here.create_key(key, algorithm="RSA_3072_PSS_SHA256", skip_initial_version=True)
    with pytest.raises(e.MaterialRejected, match="RSA factors"):
        here.import_version(key, damaged)
    with pytest.raises(e.MaterialRejected, match="of Ed25519, not of RSA"):
        here.import_version(key, der_of(pem_of("ED25519")))
    larger = f"{key}-4096"
    here.create_key(larger, algorithm="RSA_4096_PSS_SHA256", skip_initial_version=True)
    with pytest.raises(e.MaterialRejected, match="3072 bits, the key takes 4096"):
        here.import_version(larger, data)
    assert (here.get_key(key).staged_version, here.get_key(larger).staged_version) == (0, 0)
