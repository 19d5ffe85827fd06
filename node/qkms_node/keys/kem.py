"""ML-KEM (FIPS 203) and X25519MLKEM768 (`qkms.hybrid`) as algorithms of keys.

Material is the seed d || z (64 bytes), for the hybrid followed by the X25519
scalar (32 bytes). The public half of ML-KEM is SubjectPublicKeyInfo (RFC 9935);
that of the hybrid is raw, since it has no object identifier.
"""

from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from qkms.errors import KemRejected
from qkms.hybrid import CIPHERTEXT_BYTES, hybrid_decapsulate, hybrid_encapsulate, hybrid_public_bytes
from qkms.kem import MLKEM_SEED_BYTES, X25519_BYTES, HybridPrivateKey
from qkms_node.keys.errors import CiphertextMalformed, CiphertextRejected
from qkms_node.keys.scheme import KemScheme, RandomBytes
from qkms_node.keys.secret import VersionSecret


class MlKem(KemScheme):
    """ML-KEM of one parameter set."""

    def __init__(self, private: Any, ciphertext_bytes: int) -> None:
        self._private_type = private
        self._ciphertext_bytes = ciphertext_bytes

    def draw(self, random: RandomBytes) -> VersionSecret:
        """The seed d || z of 64 bytes."""
        return VersionSecret(random(MLKEM_SEED_BYTES))

    def public_key(self, material: VersionSecret) -> bytes:
        """SubjectPublicKeyInfo."""
        public = self._private(material).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """A ciphertext of 1088 or 1568 bytes and the shared secret of 32 bytes (FIPS 203, 7.2)."""
        secret, ciphertext = cast(MLKEM768PublicKey, load_der_public_key(public_key)).encapsulate()
        return ciphertext, secret

    def decapsulate(self, material: VersionSecret, ciphertext: bytes) -> bytes:
        """FIPS 203, 7.3; what was made for another key gives another secret. Raises CiphertextMalformed."""
        _sized(ciphertext, self._ciphertext_bytes)
        return self._private(material).decapsulate(ciphertext)

    def _private(self, material: VersionSecret) -> MLKEM768PrivateKey:
        return cast(MLKEM768PrivateKey, self._private_type.from_seed_bytes(material.reveal()))


class X25519MlKem768(KemScheme):
    """The hybrid of ML-KEM-768 and X25519."""

    def draw(self, random: RandomBytes) -> VersionSecret:
        """The ML-KEM seed and the X25519 scalar, 96 bytes."""
        return VersionSecret(random(MLKEM_SEED_BYTES + X25519_BYTES))

    def public_key(self, material: VersionSecret) -> bytes:
        """1216 bytes, the two public keys."""
        return hybrid_public_bytes(_hybrid(material).public)

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """A ciphertext of 1120 bytes and the shared secret of 32 bytes."""
        return hybrid_encapsulate(public_key)

    def decapsulate(self, material: VersionSecret, ciphertext: bytes) -> bytes:
        """Raises CiphertextMalformed, and CiphertextRejected for an X25519 key of small order."""
        _sized(ciphertext, CIPHERTEXT_BYTES)
        try:
            return hybrid_decapsulate(_hybrid(material), ciphertext)
        except KemRejected as error:
            raise CiphertextRejected(str(error)) from error


def _hybrid(material: VersionSecret) -> HybridPrivateKey:
    return HybridPrivateKey.from_bytes(bytes(material.reveal()))


def _sized(ciphertext: bytes, size: int) -> None:
    if len(ciphertext) != size:
        raise CiphertextMalformed(f"is {len(ciphertext)} bytes, of this key it has {size}")
