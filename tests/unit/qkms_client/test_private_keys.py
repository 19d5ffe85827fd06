"""Private keys in the files that openssl writes become PKCS #8, or are refused before anything is sent."""

import subprocess
from functools import cache

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from qkms_client.errors import PrivateKeyInvalid
from qkms_client.private_keys import needs_passphrase, to_pkcs8

KINDS = {
    "ed25519": ("genpkey", "-algorithm", "ED25519"),
    "p384": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "rsa": ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"),
}
PASSPHRASE = b"correct horse"


@cache
def private_key(kind: str) -> bytes:
    """An unencrypted PKCS #8 PEM."""
    return openssl(*KINDS[kind])


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def expected(pem: bytes) -> bytes:
    return load_pem_private_key(pem, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("kind", KINDS)
def test_each_form_that_openssl_writes_is_read(kind: str) -> None:
    pem = private_key(kind)
    wanted = expected(pem)
    secret = ("-topk8", "-passout", f"pass:{PASSPHRASE.decode()}")
    for form in (
        pem,
        b"Bag Attributes\n" + pem,
        openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", data=pem),
    ):
        assert not needs_passphrase(form)
        assert to_pkcs8(form) == to_pkcs8(form, PASSPHRASE) == wanted
    for options in (secret, (*secret, "-outform", "DER"), (*secret, "-scrypt")):
        form = openssl("pkcs8", *options, data=pem)
        assert needs_passphrase(form)
        assert to_pkcs8(form, PASSPHRASE) == wanted
        for wrong in (None, b"", b"another"):
            with pytest.raises(PrivateKeyInvalid, match="passphrase") as refused:
                to_pkcs8(form, wrong)
            assert refused.value.__cause__ is None


def test_forms_of_before_pkcs8_are_read() -> None:
    for kind, command in (("rsa", "rsa"), ("p384", "ec")):
        pem = private_key(kind)
        forms = [openssl("pkey", "-traditional", data=pem), openssl(command, "-outform", "DER", data=pem)]
        encrypted = openssl(command, "-aes256", "-passout", "pass:old", *_traditional(command), data=pem)
        assert [to_pkcs8(form) for form in forms] == [expected(pem)] * 2
        assert needs_passphrase(encrypted)
        assert to_pkcs8(encrypted, b"old") == expected(pem)
    with_parameters = openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert with_parameters.startswith(b"-----BEGIN EC PARAMETERS")
    assert to_pkcs8(with_parameters) == expected(with_parameters)


def _traditional(command: str) -> tuple[str, ...]:
    return ("-traditional",) if command == "rsa" else ()


def test_what_is_no_form_of_private_key_goes_on_to_the_node() -> None:
    for data in (b"", bytes(range(32)), b"\x30" * 32, b"\x30\x03\x02\x01\x00"):
        assert not needs_passphrase(data)
        assert to_pkcs8(data) == data


def test_pem_that_has_no_one_readable_private_key_is_refused() -> None:
    pem = private_key("ed25519")
    public = openssl("pkey", "-pubout", data=pem)
    damaged = pem.replace(b"MC4", b"M*4")
    openssh = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    sec1 = b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
    for bad, reason in (
        (public, "0 private keys"),
        (pem + pem, "2 private keys"),
        (damaged, "not base64"),
        (openssh, "OPENSSH PRIVATE KEY is not read"),
        (sec1, "damaged"),
    ):
        with pytest.raises(PrivateKeyInvalid, match=reason):
            to_pkcs8(bad)
