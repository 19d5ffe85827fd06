"""Who is calling: the principal named by the peer's certificate.

The TLS layer has verified the chain to the cluster CA; this reads the name.
The first SPIFFE URI among the subject alternative names is the principal,
else the common name. Leaves authorisation to `policy`.
"""

from collections.abc import Iterable, Mapping

from qkms_node.errors import QkmsError

_SPIFFE = "spiffe://"


def principal(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """The caller's principal from gRPC's authentication context.

    Raises QkmsError PERMISSION_DENIED for a certificate that names nobody.
    """
    names = [value.decode("utf-8", "replace") for value in auth_context.get("x509_subject_alternative_name", ())]
    for name in names:
        if name.startswith(_SPIFFE):
            return name
    for value in auth_context.get("x509_common_name", ()):
        return value.decode("utf-8", "replace")
    raise QkmsError(
        "PERMISSION_DENIED",
        "the certificate names no principal: it needs a SPIFFE URI subject alternative name or a common name",
    )
