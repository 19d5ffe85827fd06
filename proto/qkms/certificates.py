"""What the library raises for a certificate, request or key that it cannot read, or that does not verify.

Certificates come from outside; the library reads much of one only when it is
asked for, and has no common base for what it then raises.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What is raised instead says the file and the type of the error, and nothing of what was read."""
