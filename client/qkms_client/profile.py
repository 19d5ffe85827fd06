"""Which cluster, and who the caller is: one TOML file.

    ca = "ca.pem"                    # the cluster's certificate authority
    certificate = "payments.pem"     # this caller's certificate and its private key
    private_key = "payments.key"
    timeout_s = 15.0                 # of a call, all attempts together
    attempt_timeout_s = 3.0          # of one attempt at one node

    [endpoints]                      # node id = "host:port", the nearest first
    node-1 = "127.0.0.1:9201"

Paths are PEM files, relative to the profile; renewed ones are read anew while a
client runs. Every error names the field.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from qkms.certificates import UNREADABLE
from qkms_client.errors import ProfileInvalid

VARIABLE = "QKMS_PROFILE"
DEFAULT_PATH = Path("~/.config/qkms/profile.toml")

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True)
class Profile:
    """Endpoints as {node id: "host:port"} in order of preference, TLS files, times in seconds.

    Raises ProfileInvalid naming the field.
    """

    endpoints: Mapping[str, str]
    ca: Path
    certificate: Path
    private_key: Path
    timeout_s: float = 15.0
    attempt_timeout_s: float = 3.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ProfileInvalid("endpoints: name at least one node and its host:port")
        for node, address in self.endpoints.items():
            match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
            if match is None or not 1 <= int(match[2]) <= 65535:
                raise ProfileInvalid(f"endpoints.{node}: {address!r} is not host:port")
        for field in ("timeout_s", "attempt_timeout_s"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
                raise ProfileInvalid(f"{field}: {value!r} is not a number of seconds over 0, up to 3600")

    def read_tls(self) -> tuple[bytes, bytes, bytes]:
        """The PEM contents of CA, certificate and private key. Raises ProfileInvalid."""
        return (
            _read("ca", self.ca),
            _read("certificate", self.certificate),
            _read("private_key", self.private_key),
        )

    def tls_stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever one of the PEM files is replaced or written; for a missing file it is zeros."""
        found = []
        for path in (self.ca, self.certificate, self.private_key):
            try:
                seen = path.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((seen.st_ino, seen.st_mtime_ns))
        return tuple(found)

    def ca_fingerprint(self) -> str:
        """SHA-256 of the cluster's CA (DER) in hexadecimal. Raises ProfileInvalid."""
        try:
            return x509.load_pem_x509_certificate(_read("ca", self.ca)).fingerprint(hashes.SHA256()).hex()
        except UNREADABLE:
            raise ProfileInvalid(f"ca: {self.ca} is not a PEM certificate") from None

    def certificate_expires(self) -> datetime:
        """When this caller's certificate ends (aware, UTC). Raises ProfileInvalid."""
        try:
            return x509.load_pem_x509_certificate(_read("certificate", self.certificate)).not_valid_after_utc
        except UNREADABLE:
            raise ProfileInvalid(f"certificate: {self.certificate} is not a PEM certificate") from None

    def principal(self) -> str:
        """This caller as the cluster will name it: the SPIFFE URI of the certificate, else its common name.

        Raises ProfileInvalid.
        """
        try:
            certificate = x509.load_pem_x509_certificate(_read("certificate", self.certificate))
            common = [a.value for a in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
            uris = _uris(certificate)
        except UNREADABLE:
            raise ProfileInvalid(f"certificate: {self.certificate} is not a PEM certificate") from None
        for name in [*(u for u in uris if u.startswith("spiffe://")), *common]:
            return str(name)
        raise ProfileInvalid(f"certificate: {self.certificate} has neither a SPIFFE URI nor a common name")


def load_profile(path: str | Path | None = None) -> Profile:
    """The profile at `path`, else at $QKMS_PROFILE, else at ~/.config/qkms/profile.toml.

    Raises ProfileInvalid naming file and field.
    """
    chosen, source = _choose(path)
    try:
        text = chosen.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileInvalid(f"{chosen}: there is no such file ({source})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileInvalid(f"{chosen}: cannot be read: {error}") from None
    try:
        return _parse(tomllib.loads(text), chosen.parent)
    except ProfileInvalid as error:
        raise ProfileInvalid(f"{chosen}: {error.message}") from None
    except ValueError as error:  # a number of over 4,300 digits is no TOMLDecodeError
        raise ProfileInvalid(f"{chosen}: not TOML: {error}") from None
    except RecursionError:
        raise ProfileInvalid(f"{chosen}: nested too deeply for a profile") from None


def _choose(path: str | Path | None) -> tuple[Path, str]:
    if path is not None:
        return Path(path).expanduser(), "given explicitly"
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser(), f"named by ${VARIABLE}"
    return DEFAULT_PATH.expanduser(), f"the default; set ${VARIABLE} or pass a path"


def _parse(data: dict[str, object], folder: Path) -> Profile:
    known = ("endpoints", "ca", "certificate", "private_key", "timeout_s", "attempt_timeout_s")
    for name in data:
        if name not in known:
            raise ProfileInvalid(f"{name}: there is no such field; there are {', '.join(known)}")
    endpoints = data.get("endpoints")
    if not isinstance(endpoints, dict):
        raise ProfileInvalid('endpoints: write a table [endpoints] of node id = "host:port"')
    return Profile(
        endpoints=dict(endpoints),
        ca=_path(data, "ca", folder),
        certificate=_path(data, "certificate", folder),
        private_key=_path(data, "private_key", folder),
        timeout_s=_seconds(data, "timeout_s", Profile.timeout_s),
        attempt_timeout_s=_seconds(data, "attempt_timeout_s", Profile.attempt_timeout_s),
    )


def _path(data: dict[str, object], field: str, folder: Path) -> Path:
    value = data.get(field)
    if not isinstance(value, str) or not value:
        raise ProfileInvalid(f"{field}: write the path of a PEM file")
    try:
        return folder / Path(value).expanduser()
    except RuntimeError:
        raise ProfileInvalid(f"{field}: {value!r}: there is no such user") from None


def _seconds(data: dict[str, object], field: str, default: float) -> float:
    value = data.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProfileInvalid(f"{field}: {value!r} is not a number of seconds")
    return value


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _read(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise ProfileInvalid(f"{field}: {path} cannot be read: {why}") from None
