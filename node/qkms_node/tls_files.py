"""The PEM files of a node while they are being renewed: read whole, replaced as a pair.

Certificate and key are two files, and a crash may fall between the two
renames. So both are first written aside and made durable, the key is renamed
first, and `settle` finishes what a crash left half-way: a certificate that
lies aside and fits the key in place belongs to it. Whoever reads meanwhile
checks that the two fit, and keeps what it had if they do not.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from qkms.certificates import UNREADABLE
from qkms_node.files import sync_folder, write_durably

ASIDE = ".renewed"


class TlsFilesInvalid(Exception):
    """The files cannot be used together; the message names them and the way out."""

    code = "TLS_FILES_INVALID"


class TlsPaths(Protocol):
    """PEM files: the cluster's CA, this node's certificate and its private key."""

    @property
    def ca(self) -> Path: ...
    @property
    def certificate(self) -> Path: ...
    @property
    def private_key(self) -> Path: ...


@dataclass(frozen=True)
class Pem:
    """The content of the three files. The key is in clear, as on disk."""

    ca: bytes
    certificate: bytes
    private_key: bytes

    def __repr__(self) -> str:
        return "Pem(...)"


Stamp = tuple[tuple[int, int, int], ...]


def stamp(paths: TlsPaths) -> Stamp:
    """Changes whenever one of the files is replaced or written; for a file that is missing it is zeros."""
    found = []
    for path in (paths.ca, paths.certificate, paths.private_key):
        try:
            seen = path.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((seen.st_ino, seen.st_mtime_ns, seen.st_size))
    return tuple(found)


def read(paths: TlsPaths) -> Pem:
    """The three files, certificate and key fitting each other. Raises TlsFilesInvalid."""
    try:
        pem = Pem(paths.ca.read_bytes(), paths.certificate.read_bytes(), paths.private_key.read_bytes())
        fits = _fits(pem.certificate, pem.private_key)
    except (OSError, *UNREADABLE) as error:
        raise TlsFilesInvalid(f"{paths.certificate}, {paths.private_key}: cannot be read: {_why(error)}") from None
    if not fits:
        raise TlsFilesInvalid(f"{paths.private_key} is not the key of {paths.certificate}; restore the pair")
    return pem


def check_pair(paths: TlsPaths) -> None:
    """Raises TlsFilesInvalid unless the files can be read and fit."""
    read(paths)


def validity(paths: TlsPaths) -> tuple[datetime, datetime]:
    """From when until when the certificate is valid (aware, UTC). Raises TlsFilesInvalid."""
    try:
        leaf = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
    except (OSError, *UNREADABLE) as error:
        raise TlsFilesInvalid(f"{paths.certificate}: cannot be read: {_why(error)}") from None
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def replace_pair(paths: TlsPaths, certificate: bytes, private_key: bytes) -> None:
    """Puts a new pair (PEM) in place; a crash at any point leaves what `settle` can finish. Raises OSError."""
    for path, content, mode in ((paths.private_key, private_key, 0o600), (paths.certificate, certificate, 0o644)):
        write_durably(_aside(path), content, mode)
    _aside(paths.private_key).rename(paths.private_key)
    _aside(paths.certificate).rename(paths.certificate)
    for folder in {paths.private_key.parent, paths.certificate.parent}:
        sync_folder(folder)


def settle(paths: TlsPaths) -> None:
    """Finishes a renewal that a crash left between the two renames; removes one that had not got so far."""
    aside = _aside(paths.certificate)
    if not aside.exists():
        _aside(paths.private_key).unlink(missing_ok=True)
        return
    try:
        whole = _fits(aside.read_bytes(), paths.private_key.read_bytes())
    except (OSError, *UNREADABLE):
        whole = False
    if whole:
        aside.rename(paths.certificate)
    else:
        aside.unlink()
        _aside(paths.private_key).unlink(missing_ok=True)
    sync_folder(paths.certificate.parent)


def _why(error: Exception) -> str:
    """Only the kind of what the library says: its message may quote the key."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return f"not PEM as it must be ({type(error).__name__})"


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ASIDE)


def _fits(certificate: bytes, private_key: bytes) -> bool:
    leaf = x509.load_pem_x509_certificate(certificate)
    key = serialization.load_pem_private_key(private_key, password=None)
    return leaf.public_key() == key.public_key()
