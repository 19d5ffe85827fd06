"""Who a peer is, from the certificate its TLS handshake proved. Pure.

Works on the mapping that `ssl.SSLSocket.getpeercert()` returns. The principal is the URI SAN, else
the CN; the SAE identity is the field the operator chose (ETSI GS QKD 014 leaves it open).
"""

from collections.abc import Mapping
from typing import Any, Literal

SaeIdentity = Literal["cn", "san_uri", "san_dns", "serial"]
PeerCertificate = Mapping[str, Any]


def common_name(certificate: PeerCertificate) -> str | None:
    """The one CN of the subject; None when there is none or more than one."""
    names = [
        str(value)
        for relative_name in certificate.get("subject", ())
        for field, value in relative_name
        if field == "commonName"
    ]
    return names[0] if len(names) == 1 else None


def alternative_name(certificate: PeerCertificate, kind: Literal["URI", "DNS"]) -> str | None:
    """The first subject alternative name of this kind."""
    for found, value in certificate.get("subjectAltName", ()):
        if found == kind:
            return str(value)
    return None


def principal(certificate: PeerCertificate) -> str | None:
    """The URI SAN, else the CN."""
    return alternative_name(certificate, "URI") or common_name(certificate)


def sae_id(certificate: PeerCertificate, field: SaeIdentity) -> str | None:
    """The SAE this certificate speaks for; a serial number is upper-case hex without leading zeros."""
    match field:
        case "cn":
            return common_name(certificate)
        case "san_uri":
            return alternative_name(certificate, "URI")
        case "san_dns":
            return alternative_name(certificate, "DNS")
        case "serial":
            serial = str(certificate.get("serialNumber", "")).upper().lstrip("0")
            return serial or None
