"""What a node that joins reads before it trusts anybody: its token, certificates, the shared configuration.

Pure. Anything may stand in these: what cannot be read is JoinFailed, and says
where it came from.
"""

import base64
import binascii
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from qkms.certificates import UNREADABLE

TOKEN_BYTES = 32


class JoinFailed(Exception):
    """The node has not joined; the message says why and what to do."""

    code = "JOIN_FAILED"


def parse_token(token: str) -> tuple[str, bytes]:
    """Node id and the 32 bytes of `{node_id}.{base64url}`. Raises JoinFailed."""
    node_id, _, text = token.strip().rpartition(".")
    try:
        secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        secret = b""
    if not node_id or len(secret) != TOKEN_BYTES:
        raise JoinFailed("--token: this is no token; copy it whole, as qkms cluster add printed it")
    return node_id, secret


def trusted_ca(server: str, shown: Sequence[bytes], fingerprint: str) -> tuple[bytes, str]:
    """The CA (PEM) of this fingerprint, among the certificates (DER) that the server shows, its own first,
    and the trust domain of the node that it is. Raises JoinFailed.
    """
    wanted = fingerprint.replace(":", "").strip().lower()
    if len(wanted) != 64:
        raise JoinFailed("--ca-fingerprint: it is SHA-256, 64 hexadecimal digits, as qkms cluster add printed it")
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in shown]
    except UNREADABLE as error:
        raise JoinFailed(
            f"{server} shows a certificate that cannot be read ({type(error).__name__}); nothing was sent to it"
        ) from None
    for certificate in certificates:
        if certificate.fingerprint(hashes.SHA256()).hex() == wanted:
            pem = certificate.public_bytes(serialization.Encoding.PEM)
            return pem, _trust_domain(server, certificates[0], certificate)
    raise JoinFailed(
        f"{server} shows no CA with this fingerprint: it is not of this cluster, or somebody stands in between. "
        "Nothing was sent to it"
    )


def issued(server: str, certificate: bytes, ca: bytes) -> bytes:
    """The certificate (DER) that the server gave, as PEM, if the CA (PEM) issued it. Raises JoinFailed."""
    try:
        given = x509.load_der_x509_certificate(certificate)
        given.verify_directly_issued_by(x509.load_pem_x509_certificates(ca)[0])
    except UNREADABLE as error:
        raise JoinFailed(
            f"{server} answered with what is no certificate of the cluster's CA ({type(error).__name__}); "
            "nothing was replaced; run the same command again, or join at another node"
        ) from None
    return given.public_bytes(serialization.Encoding.PEM)


def shared_sections(server: str, shared: str, node_id: str) -> tuple[dict[str, Any], str, str]:
    """The configuration (TOML) that all nodes share, and this node's Raft and RPC addresses. Raises JoinFailed."""
    try:
        table = tomllib.loads(shared)
        [me] = [member for member in table["cluster"]["members"] if member["id"] == node_id]
        return table, str(me["raft_address"]), str(me["rpc_address"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JoinFailed(
            f"{server} sent a shared configuration that cannot be read or lacks {node_id} "
            f"({type(error).__name__}); use a release of qkms-node that is compatible with the cluster's"
        ) from None


def _trust_domain(server: str, leaf: x509.Certificate, ca: x509.Certificate) -> str:
    """The host part of a node's SPIFFE id. Raises JoinFailed for a server that is no node of the CA."""
    try:
        leaf.verify_directly_issued_by(ca)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    except UNREADABLE:
        uri = ""
    match = re.fullmatch(r"spiffe://([^/]+)/node/[^/]+", uri)
    if match is None:
        raise JoinFailed(f"{server} is no node of this cluster; nothing was sent to it")
    return match[1]
