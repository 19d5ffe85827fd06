"""The cluster's CA at a node that may sign: its key, encrypted on disk, and what it signs.

The key is PKCS#8 PEM, EC P-256, under a passphrase that lies in a file of its
own, best on another device or handed in by the service manager. A key in
clear is refused. Leaves out revocation: what was signed is good until it
expires, so lifetimes are kept short and removed nodes are not renewed.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qkms.certificates import UNREADABLE
from qkms_node.csr import host_names, node_uri
from qkms_node.leaf import sign_leaf

# Certificates begin in the past so that a clock a little behind still accepts them.
CLOCK_SLACK = timedelta(minutes=5)


class CaUnusable(Exception):
    """The CA's files cannot be used; the message names the file and the way out."""

    code = "CA_UNUSABLE"


class SigningCa:
    """Signs certificates for nodes. Raises CaUnusable."""

    def __init__(self, certificate: Path, key: Path, passphrase: Path, lifetime: timedelta) -> None:
        self._lifetime = lifetime
        self._certificate = _certificate(certificate)
        self._key = _key(key, passphrase)
        try:
            fits = self._certificate.public_key() == self._key.public_key()
        except UNREADABLE:
            fits = False
        if not fits:
            raise CaUnusable(f"ca.key_file: {key} is not the key of {certificate}")

    def sign(
        self, public_key: ec.EllipticCurvePublicKey, trust_domain: str, node_id: str, hosts: Collection[str]
    ) -> bytes:
        """A certificate (DER) for a node, with these hosts."""
        now = datetime.now(UTC)
        uri = x509.UniformResourceIdentifier(node_uri(trust_domain, node_id))
        leaf = sign_leaf(
            self._certificate,
            self._key,
            public_key,
            node_id,
            [uri, *host_names(hosts)],
            now - min(CLOCK_SLACK, self._lifetime / 10),
            min(now + self._lifetime, self._certificate.not_valid_after_utc),
        )
        return leaf.public_bytes(serialization.Encoding.DER)


def encrypt_key(clear: Path, encrypted: Path, passphrase: bytes) -> None:
    """Writes the key of `clear` to `encrypted`, under `passphrase`; `clear` stays."""
    key = serialization.load_pem_private_key(clear.read_bytes(), password=None)
    sealed = serialization.BestAvailableEncryption(passphrase)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    encrypted.touch(mode=0o600)
    encrypted.write_bytes(pem)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise CaUnusable(f"tls.ca: {path}: cannot be read: {error.strerror}") from None
    except UNREADABLE as error:
        raise CaUnusable(f"tls.ca: {path}: is no PEM certificate ({type(error).__name__})") from None


def _key(path: Path, passphrase: Path) -> ec.EllipticCurvePrivateKey:
    try:
        secret = _passphrase(passphrase)
        key = serialization.load_pem_private_key(path.read_bytes(), secret)
    except TypeError:
        raise CaUnusable(
            f"ca.key_file: {path} is not encrypted; encrypt it (openssl pkcs8 -topk8 -v2 aes-256-cbc) and "
            "remove the clear one"
        ) from None
    except OSError as error:
        raise CaUnusable(f"ca.key_file: {path}: cannot be read: {error.strerror}") from None
    except UNREADABLE:
        raise CaUnusable(f"ca.key_file: {path} does not open with the passphrase in {passphrase}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CaUnusable(f"ca.key_file: {path} does not hold an EC private key")
    return key


def _passphrase(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode & 0o777
        secret = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise CaUnusable(f"ca.passphrase_file: {path}: cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise CaUnusable(f"ca.passphrase_file: {path}: mode {mode:04o} lets others read it; chmod it to 0600")
    if not secret:
        raise CaUnusable(f"ca.passphrase_file: {path} is empty")
    return secret
