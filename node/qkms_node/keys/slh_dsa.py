"""SLH-DSA (FIPS 205), pure and hedged, by pqcrypto. Experimental: that library calls itself unaudited.

Material is the private key of FIPS 205, 9.1 (SK.seed || SK.prf || PK.seed ||
PK.root), the public half SubjectPublicKeyInfo (RFC 9909), written here because
the `cryptography` library does not know the algorithm. pqcrypto signs without
letting other threads run: only the fast parameter sets whose signature takes
less than a heartbeat of the consensus are offered.
"""

from types import ModuleType
from typing import ClassVar

from pqcrypto import InvalidSignatureError
from pqcrypto.sign import slh_dsa_sha2_128f, slh_dsa_sha2_192f

from qkms import der
from qkms_node.keys import identifiers
from qkms_node.keys.scheme import Manner, RandomBytes, SignatureScheme
from qkms_node.keys.secret import VersionSecret

__all__ = ["SLH_DSA_SHA2_128F", "SLH_DSA_SHA2_192F", "SlhDsa"]


class SlhDsa(SignatureScheme):
    """SLH-DSA of one parameter set; `identifier` is its AlgorithmIdentifier."""

    context_bytes: ClassVar[int] = 255

    def __init__(self, library: ModuleType, identifier: bytes) -> None:
        self._library = library
        self._public_bytes: int = library.PUBLIC_KEY_SIZE
        self._algorithm = identifier

    def draw(self, random: RandomBytes) -> VersionSecret:
        """A private key of 64 or 96 bytes, drawn by the library."""
        _, private = self._library.keygen()
        return VersionSecret(bytes(private))

    def public_key(self, material: VersionSecret) -> bytes:
        """SubjectPublicKeyInfo around PK.seed || PK.root, the second half of the private key."""
        public = bytes(material.reveal()[-self._public_bytes :])
        return der.tlv(der.SEQUENCE, self._algorithm + der.tlv(der.BIT_STRING, b"\0" + public))

    def sign(self, material: VersionSecret, message: bytes, manner: Manner) -> bytes:
        """17088 or 35664 bytes (FIPS 205, 10.2.1)."""
        return bytes(self._library.sign(bytes(material.reveal()), message, manner.context))

    def verify(self, public_key: bytes, message: bytes, signature: bytes, manner: Manner) -> bool:
        """FIPS 205, 10.3."""
        if len(signature) != self._library.SIGNATURE_SIZE:
            return False
        try:
            self._library.verify(public_key[-self._public_bytes :], message, signature, manner.context)
        except InvalidSignatureError:
            return False
        return True


SLH_DSA_SHA2_128F = SlhDsa(slh_dsa_sha2_128f, identifiers.SLH_DSA_SHA2_128F)
SLH_DSA_SHA2_192F = SlhDsa(slh_dsa_sha2_192f, identifiers.SLH_DSA_SHA2_192F)
