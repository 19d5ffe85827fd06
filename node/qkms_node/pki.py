"""The development CA of a local cluster and the certificates it issues.

One EC P-256 root signs every leaf: nodes, KMEs, services, operators, SAEs. A leaf
names its owner in a SPIFFE-style URI (the principal). A node's common name is
its SAE id, by which KMEs know it; nobody else's can be one. Leaves serve as
client and as server. Material on disk is reused
while it is valid and was signed by this CA; what has expired is issued again.

Leaves out intermediates, revocation and renewal under load: a cluster that
outlives one machine brings its own CA. Files are PEM, keys PKCS#8 in clear
with mode 0600, because the processes of a development cluster start unattended.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qkms_node.leaf import named, sign_leaf, usage

TRUST_DOMAIN = "qkms.dev"
CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=90)
# Certificates begin in the past so that a clock a little behind still accepts them.
CLOCK_SLACK = timedelta(minutes=5)
# A leaf with less than this left is issued again when it is asked for.
RENEW_BEFORE = timedelta(days=1)

Kind = Literal["node", "kme", "service", "operator", "sae"]
SERVERS = ("node", "kme")
MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name


@dataclass(frozen=True)
class Identity:
    """Who a certificate is for."""

    kind: Kind
    name: str

    @property
    def common_name(self) -> str:
        """At most 64 characters. A service or an SAE that is called as a node must not pass for it at a KME."""
        if self.kind == "node":
            return self.name
        joined_by = ":" if self.kind == "sae" else " "  # an SAE id has no spaces
        return f"{self.kind}{joined_by}{self.name}"[:MAX_COMMON_NAME]

    @property
    def uri(self) -> str:
        """The principal, as the certificate's URI subject alternative name."""
        return f"spiffe://{TRUST_DOMAIN}/{self.kind}/{self.name}"


@dataclass(frozen=True)
class Material:
    """The three PEM files that every TLS configuration of qkms names."""

    ca: Path
    certificate: Path
    private_key: Path

    def table(self) -> dict[str, str]:
        """As a TOML table with absolute paths."""
        return {
            "ca": str(self.ca.absolute()),
            "certificate": str(self.certificate.absolute()),
            "private_key": str(self.private_key.absolute()),
        }


class Authority:
    """A CA in a folder: `ca.pem`, `ca.key` and one pair of files for each leaf."""

    def __init__(self, folder: Path, name: str = "qkms development CA") -> None:
        """Opens the CA of `folder`, or makes one. Raises ValueError when its two files do not fit."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self.certificate_path = folder / "ca.pem"
        self.key_path = folder / "ca.key"
        if not (self.certificate_path.exists() and self.key_path.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(self.key_path, key)
            _write(self.certificate_path, _self_signed(key, name), 0o644)
        self._key = _read_key(self.key_path)
        self._certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
        if self._certificate.public_key() != self._key.public_key():
            raise ValueError(
                f"{self.key_path} is not the key of {self.certificate_path}; remove both to begin anew"
            )

    def issue(
        self,
        identity: Identity,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        addresses: tuple[str, ...] = ("127.0.0.1",),
    ) -> Material:
        """The files of `identity`, made when there are none that are valid.

        Naming a validity (aware datetimes) always issues anew, so tests can have expired leaves.
        `addresses`: the IPv4 addresses a server is dialled at, besides the name localhost.
        """
        stem = self._folder / identity.kind / identity.name
        material = Material(self.certificate_path, stem.with_suffix(".pem"), stem.with_suffix(".key"))
        if not_before is None and not_after is None and self._is_current(material, identity):
            return material
        begin = not_before or datetime.now(UTC) - CLOCK_SLACK
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._leaf(key, identity, begin, not_after or begin + LEAF_LIFETIME, addresses)
        stem.parent.mkdir(exist_ok=True, mode=0o700)
        # The key goes first: a crash in between leaves a pair that `_is_current` refuses.
        _write_key(material.private_key, key)
        _write(material.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return material

    def _is_current(self, material: Material, identity: Identity) -> bool:
        if not (material.certificate.exists() and material.private_key.exists()):
            return False
        leaf = x509.load_pem_x509_certificate(material.certificate.read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            leaf.issuer == self._certificate.subject
            and leaf.subject == named(identity.common_name)
            and leaf.not_valid_after_utc > datetime.now(UTC) + RENEW_BEFORE
            and leaf.not_valid_before_utc <= datetime.now(UTC)
            and leaf.public_key() == _read_key(material.private_key).public_key()
            and names.get_values_for_type(x509.UniformResourceIdentifier) == [identity.uri]
            and self._signed(leaf)
        )

    def _signed(self, leaf: x509.Certificate) -> bool:
        try:
            leaf.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def _leaf(
        self,
        key: ec.EllipticCurvePrivateKey,
        identity: Identity,
        not_before: datetime,
        not_after: datetime,
        addresses: tuple[str, ...],
    ) -> x509.Certificate:
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
        if identity.kind in SERVERS:
            names += [x509.DNSName("localhost"), *(x509.IPAddress(IPv4Address(a)) for a in addresses)]
        return sign_leaf(
            self._certificate,
            self._key,
            key.public_key(),
            identity.common_name,
            names,
            not_before,
            not_after,
        )


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    begin = datetime.now(UTC) - CLOCK_SLACK
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} does not hold an EC private key")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replaces `path` whole; the mode holds from the first byte on."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    aside.rename(path)
