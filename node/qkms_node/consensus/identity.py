"""Who is at the other end of a connection between members: TLS 1.3 both ways.

The peer's certificate must chain to the cluster's CA and carry exactly one
URI name `spiffe://<trust domain>/node/<id>`. What the peer says of itself in
its first frame is only compared with that, never believed. Host names are not
checked: members are known by id, and an address may belong to a proxy.
"""

import re
import ssl
from collections.abc import Callable
from typing import Any

from qkms_node.consensus.settings import Tls
from qkms_node.tls_files import TlsFilesInvalid, check_pair, stamp

_NODE_PATH = re.compile(r"/node/([a-z0-9][a-z0-9._-]*)")


class PeerRefused(Exception):
    """The other end is not the member that it must be; the connection is closed."""

    code = "PEER_REFUSED"


def server_context(tls: Tls) -> ssl.SSLContext:
    """For accepted connections. Raises OSError or ssl.SSLError when the PEM files cannot be used."""
    return _context(ssl.PROTOCOL_TLS_SERVER, tls)


def client_context(tls: Tls) -> ssl.SSLContext:
    """For dialled connections. Raises OSError or ssl.SSLError when the PEM files cannot be used."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, tls)


class Contexts:
    """Both contexts, made anew when the PEM files have changed, so that renewed ones serve the next connection.

    Files that do not fit together, as half-way through a renewal, leave the contexts as they were.
    """

    def __init__(self, tls: Tls, report: Callable[..., None]) -> None:
        self._tls = tls
        self._report = report
        self._stamp = stamp(tls)
        self._server, self._client = server_context(tls), client_context(tls)

    def server(self) -> ssl.SSLContext:
        """For the next accepted connection."""
        self._look()
        return self._server

    def client(self) -> ssl.SSLContext:
        """For the next dialled connection."""
        self._look()
        return self._client

    def _look(self) -> None:
        now = stamp(self._tls)
        if now == self._stamp:
            return
        self._stamp = now
        try:
            check_pair(self._tls)
            self._server, self._client = server_context(self._tls), client_context(self._tls)
        except (TlsFilesInvalid, OSError, ssl.SSLError) as problem:
            self._report("consensus.certificate_unusable", problem=str(problem))
        else:
            self._report("consensus.certificate_reloaded")


def _context(protocol: int, tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.certificate), str(tls.private_key))
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        # Tickets would let a session outlive the certificate that it was checked with.
        context.num_tickets = 0
    return context


def peer_id(connection: ssl.SSLObject, trust_domain: str) -> str:
    """The member id in the certificate of a finished handshake. Raises PeerRefused."""
    certificate: dict[str, Any] = connection.getpeercert() or {}
    names: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    return node_id([value for kind, value in names if kind == "URI"], trust_domain)


def node_id(uris: list[str], trust_domain: str) -> str:
    """The member id named by a certificate's URI names. Raises PeerRefused.

    A certificate with several identities is refused: it could speak as more than one member.
    """
    if len(uris) != 1:
        raise PeerRefused(f"the certificate has {len(uris)} URI names, a member's has exactly one")
    prefix = f"spiffe://{trust_domain}"
    match = _NODE_PATH.fullmatch(uris[0].removeprefix(prefix)) if uris[0].startswith(prefix) else None
    if match is None:
        raise PeerRefused(f"the certificate names {uris[0]}, not {prefix}/node/<id>")
    return match[1]


def require_member(found: str, members: frozenset[str], self_id: str, dialled: str | None) -> None:
    """Raises PeerRefused unless `found` is another member and, where we dialled, the one we meant."""
    if found == self_id or found not in members:
        raise PeerRefused(f"{found} is not one of the other members ({', '.join(sorted(members))})")
    if dialled is not None and found != dialled:
        raise PeerRefused(f"dialled {dialled} and reached {found}: check the members' addresses")
