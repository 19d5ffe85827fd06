"""PKCS #8 private keys: PrivateKeyInfo (RFC 5208), and OneAsymmetricKey with a public key (RFC 5958).

Reads both, unencrypted, and gives what is inside without judging it. Attributes
are skipped. Writes version 0: without public key and attributes, which is what
every reader knows.
"""

from dataclasses import dataclass

from qkms import der
from qkms.errors import InvalidInput
from qkms.redacted import Redacted
from qkms_node.keys.errors import MaterialRejected

_ATTRIBUTES = 0xA0
_PUBLIC_KEY = 0x81
_VERSIONS = (b"\0", b"\1")


@dataclass(frozen=True, repr=False, eq=False)
class PrivateKeyInfo(Redacted):
    """`algorithm` is an AlgorithmIdentifier in DER, `private` what its own document says. Secret.

    `public` is the content of the public key's BIT STRING, None where it is left out.
    """

    algorithm: bytes
    private: bytes
    public: bytes | None = None

    def to_bytes(self) -> bytes:
        """PrivateKeyInfo of version 0, in DER. Secret."""
        parts = der.tlv(der.INTEGER, b"\0") + self.algorithm + der.tlv(der.OCTET_STRING, self.private)
        return der.tlv(der.SEQUENCE, parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "PrivateKeyInfo":
        """The inverse; takes version 1 too. Raises MaterialRejected, which quotes nothing of the key."""
        try:
            return cls._read(data)
        except InvalidInput as error:
            raise MaterialRejected(f"it is no unencrypted PKCS #8 private key in DER: {error}") from None

    @classmethod
    def _read(cls, data: bytes) -> "PrivateKeyInfo":
        version, rest = der.first(der.whole(data, der.SEQUENCE), der.INTEGER)
        if version not in _VERSIONS:
            raise InvalidInput("its version is neither 0 nor 1")
        algorithm, rest = der.first(rest, der.SEQUENCE)
        private, rest = der.first(rest, der.OCTET_STRING)
        if der.begins_with(rest, _ATTRIBUTES):
            _, rest = der.first(rest, _ATTRIBUTES)
        public = None
        if rest:
            public = _bits(der.whole(rest, _PUBLIC_KEY))
        return cls(der.tlv(der.SEQUENCE, algorithm), private, public)


def subject_public_key(spki: bytes) -> bytes:
    """The content of the BIT STRING of a SubjectPublicKeyInfo in DER. Raises InvalidInput."""
    _, rest = der.first(der.whole(spki, der.SEQUENCE), der.SEQUENCE)
    return _bits(der.whole(rest, der.BIT_STRING))


def _bits(content: bytes) -> bytes:
    if content[:1] != b"\0":
        raise InvalidInput("a public key is not a whole number of bytes")
    return content[1:]
