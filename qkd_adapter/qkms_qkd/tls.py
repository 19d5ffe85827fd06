"""TLS contexts of the quantum side: mutual, TLS 1.2 or later, optionally pinned to one peer identity.

Key exchange: OpenSSL 3.5 and later offer the X25519MLKEM768 group first by default, so the contexts
leave the group list alone there; older ones do not know the group and go on with X25519.
Left out: certificate reload and revocation lists.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from qkms_qkd.identity import alternative_name


class TlsFilesError(Exception):
    """TLS material could not be loaded; the message names the files."""

    code = "TLS_FILES"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CA that peers must chain to, our certificate (with chain) and its private key."""

    ca: Path
    certificate: Path
    private_key: Path


def hybrid_group_available() -> bool:
    """Whether the linked OpenSSL offers X25519MLKEM768 (3.5 and later)."""
    return ssl.OPENSSL_VERSION_INFO >= (3, 5)


def client_context(files: TlsFiles, peer_identity: str | None = None) -> ssl.SSLContext:
    """For dialling: checks the host name and, when given, that the URI SAN is `peer_identity`.

    Raises TlsFilesError.
    """
    return _loaded(_context(ssl.PROTOCOL_TLS_CLIENT, peer_identity), files)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For listening: a client certificate of our CA is required.

    Raises TlsFilesError.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, None)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, files)


def _context(protocol: int, peer_identity: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if peer_identity is not None:
        context.sslobject_class = _pinned(peer_identity)
    return context


def _loaded(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.private_key)
    except (OSError, ssl.SSLError) as error:
        raise TlsFilesError(
            f"cannot load the TLS files ca={files.ca}, certificate={files.certificate}, "
            f"private_key={files.private_key}: {error}; check that they exist and belong together"
        ) from error
    return context


class _PinnedConnection(ssl.SSLObject):
    """Fails the handshake unless the peer's URI SAN is the expected one.

    Every member of a deployment has a certificate of the same CA for the same host names; without
    the pin any of them could answer in place of the peer.
    """

    expected: ClassVar[str]

    def do_handshake(self) -> None:
        super().do_handshake()
        found = alternative_name(self.getpeercert() or {}, "URI")
        if found != self.expected:
            raise ssl.SSLCertVerificationError(
                ssl.SSL_ERROR_SSL, f"the peer's certificate is for {found or 'no URI'}, not for {self.expected}"
            )


def _pinned(identity: str) -> Any:
    return type("PinnedConnection", (_PinnedConnection,), {"expected": identity})
