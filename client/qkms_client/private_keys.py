"""Private keys as tools write them, turned into what `import_version` takes: PKCS #8 in DER, unencrypted.

    from qkms_client import private_keys

    material = private_keys.to_pkcs8(Path("key.pem").read_bytes(), passphrase)

PEM or DER; PKCS #8 (RFC 5958), encrypted PKCS #8 (RFC 8018), PKCS #1 of RSA and
SEC 1 of elliptic curves. PKCS #8 that is not encrypted goes on as it is: the
node judges it, and knows algorithms that the library here does not. Leaves out
OpenSSH's own format and PKCS #12.
"""

import base64
import binascii
import re

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from qkms import der
from qkms.certificates import UNREADABLE
from qkms.errors import InvalidInput
from qkms_client.errors import PrivateKeyInvalid

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN = b"-----BEGIN "
_OF_OPENSSL = (b"RSA PRIVATE KEY", b"EC PRIVATE KEY")


def needs_passphrase(data: bytes) -> bool:
    """Whether this is an encrypted private key. Raises PrivateKeyInvalid."""
    if not _is_pem(data):
        return _is_encrypted(data)
    label, body = _block(data)
    return label == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in body


def to_pkcs8(data: bytes, passphrase: bytes | None = None) -> bytes:
    """The private key as PKCS #8 in DER; what is neither PEM nor a known form of DER, as it is. Secret.

    Raises PrivateKeyInvalid.
    """
    encrypted = needs_passphrase(data)
    if encrypted and not passphrase:
        raise PrivateKeyInvalid("the private key is encrypted, and there is no passphrase")
    secret = passphrase if encrypted else None
    if not _is_pem(data):
        return _from_der(data, secret)
    label, body = _block(data)
    if label in _OF_OPENSSL:
        return _loaded(_BEGIN + label + b"-----" + body + b"-----END " + label + b"-----\n", secret)
    if label not in (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"):
        raise PrivateKeyInvalid(f"a PEM block {label.decode()} is not read; convert it with openssl pkcs8 -topk8")
    try:
        return _from_der(base64.b64decode(b"".join(body.split()), validate=True), secret)
    except binascii.Error:
        raise PrivateKeyInvalid("the PEM block is not base64: damaged") from None


def _from_der(data: bytes, passphrase: bytes | None) -> bytes:
    if passphrase is None and not _is_of_openssl(data):
        return data
    return _loaded(data, passphrase)


def _loaded(data: bytes, passphrase: bytes | None) -> bytes:
    load = load_pem_private_key if _is_pem(data) else load_der_private_key
    try:
        # The node checks RSA's numbers.
        key = load(data, passphrase, unsafe_skip_rsa_key_validation=True)
    except UNREADABLE:
        # Not chained: the library's message may quote the key.
        reason = "it is damaged, or of an algorithm that is not read in this form"
        if passphrase is not None:
            reason = f"the passphrase is another one, or {reason}: decrypt it with openssl pkcs8"
        raise PrivateKeyInvalid(f"the private key does not open: {reason}") from None
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _block(data: bytes) -> tuple[bytes, bytes]:
    found = _BLOCK.findall(data)
    if len(found) != 1:
        raise PrivateKeyInvalid(f"the PEM has {len(found)} private keys, it must have one")
    label, body = found[0]
    return label, body


def _is_pem(data: bytes) -> bool:
    return _BEGIN in data[:4096]


def _is_encrypted(data: bytes) -> bool:
    """Whether `data` begins as EncryptedPrivateKeyInfo does."""
    return _tags(data)[:2] == [der.SEQUENCE, der.OCTET_STRING]


def _is_of_openssl(data: bytes) -> bool:
    """Whether `data` begins as PKCS #1 or SEC 1 does."""
    return _tags(data)[:2] in ([der.INTEGER, der.INTEGER], [der.INTEGER, der.OCTET_STRING])


def _tags(data: bytes) -> list[int]:
    """The tags of the first two elements of a SEQUENCE; none if `data` is something else."""
    try:
        rest = der.whole(data, der.SEQUENCE)
        tags: list[int] = []
        while rest and len(tags) < 2:
            tags.append(rest[0])
            _, rest = der.first(rest, rest[0])
        return tags
    except InvalidInput:
        return []
