"""Certificate signing requests of nodes (PKCS#10, RFC 2986): made by the node, judged by who signs.

A request names exactly one node, by its SPIFFE id and as common name. Hosts
are granted by the signer from what it knows; a request may name some of them,
and is refused when it names others.
"""

from collections.abc import Collection
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from qkms.certificates import UNREADABLE
from qkms_node.leaf import named

MAX_BYTES = 4096


class CsrRefused(Exception):
    """The request cannot be signed; the message says what of it is wrong."""

    code = "CSR_REFUSED"


def node_uri(trust_domain: str, node_id: str) -> str:
    """The SPIFFE id of a node."""
    return f"spiffe://{trust_domain}/node/{node_id}"


def make_csr(trust_domain: str, node_id: str) -> tuple[bytes, bytes]:
    """A fresh P-256 key (PKCS#8 PEM, in clear) and a request for it (DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(node_uri(trust_domain, node_id))])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(named(node_id))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return pem, request.public_bytes(serialization.Encoding.DER)


def check_csr(data: bytes, trust_domain: str, node_id: str, hosts: Collection[str]) -> ec.EllipticCurvePublicKey:
    """The public key of a request that asks for no more than this node may have. Raises CsrRefused."""
    if len(data) > MAX_BYTES:
        raise CsrRefused(f"it has {len(data)} bytes, the most is {MAX_BYTES}")
    try:
        request = x509.load_der_x509_csr(data)
        sound = request.is_signature_valid
        key = request.public_key()
        common_names = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        names = list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        raise CsrRefused("it has no subject alternative name") from None
    except UNREADABLE as error:
        raise CsrRefused(f"it is no PKCS#10 request that can be read ({type(error).__name__})") from None
    if not sound:
        raise CsrRefused("its signature is not of its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrRefused("its key is not EC P-256")
    if common_names != [node_id]:
        raise CsrRefused(f"its common name is {', '.join(common_names) or 'missing'}, not {node_id}")
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if uris != [node_uri(trust_domain, node_id)]:
        raise CsrRefused(f"its URI names are {uris}, not {node_uri(trust_domain, node_id)} alone")
    others = [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]
    wrong = [str(name.value) for name in others if _host(name) not in hosts]
    if wrong:
        raise CsrRefused(f"it names {', '.join(wrong)}; this node may have {', '.join(sorted(hosts))}")
    return key


def host_names(hosts: Collection[str]) -> list[x509.GeneralName]:
    """Hosts as names of a certificate: IP addresses as such, all else as DNS names."""
    names: list[x509.GeneralName] = []
    for host in sorted(hosts):
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def hosts_of(certificate_pem: bytes) -> set[str]:
    """The hosts that a certificate (PEM) names. Raises CsrRefused."""
    try:
        leaf = x509.load_pem_x509_certificate(certificate_pem)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UNREADABLE as error:
        raise CsrRefused(f"the certificate to renew cannot be read ({type(error).__name__})") from None
    return {host for name in names if (host := _host(name)) is not None}


def _host(name: x509.GeneralName) -> str | None:
    if isinstance(name, x509.DNSName | x509.IPAddress):
        return str(name.value)
    return None
