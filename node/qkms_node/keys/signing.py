"""Ed25519, ECDSA and ML-DSA, by the `cryptography` library.

| scheme | material | signature |
|---|---|---|
| Ed25519 (RFC 8032, pure) | seed, 32 bytes | 64 bytes |
| ECDSA (FIPS 186-5; P-256, SHA-256; P-384, SHA-384) | PKCS#8, DER | DER (RFC 3279), or r, s (IEEE P1363) |
| ML-DSA (FIPS 204, pure, hedged) | seed, 32 bytes | 2420, 3309 or 4627 bytes |

Public halves are SubjectPublicKeyInfo in DER, so that any library verifies.
Leaves out Ed25519ctx and Ed25519ph, which the library does not have. The
nonces of ECDSA are the library's, random; they never leave it.
"""

from typing import Any, ClassVar, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from qkms_node.keys.errors import InputRefused
from qkms_node.keys.scheme import Manner, RandomBytes, SignatureScheme
from qkms_node.keys.secret import VersionSecret

SEED_BYTES = 32
MU_BYTES = 64


class Ed25519(SignatureScheme):
    """Ed25519, pure: no digest, no context."""

    def draw(self, random: RandomBytes) -> VersionSecret:
        """A seed of 32 bytes."""
        return VersionSecret(random(SEED_BYTES))

    def public_key(self, material: VersionSecret) -> bytes:
        """SubjectPublicKeyInfo (RFC 8410)."""
        public = Ed25519PrivateKey.from_private_bytes(material.reveal()).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, material: VersionSecret, message: bytes, manner: Manner) -> bytes:
        """64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(material.reveal()).sign(message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes, manner: Manner) -> bool:
        """RFC 8032, 5.1.7."""
        public = cast(Ed25519PublicKey, load_der_public_key(public_key))
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Ecdsa(SignatureScheme):
    """ECDSA on one curve with the hash of its strength."""

    has_raw = True

    def __init__(self, curve: ec.EllipticCurve, digest: SHA256 | SHA384) -> None:
        self._curve = curve
        self._digest = digest
        self._scalar_bytes = curve.key_size // 8
        self.digest_bytes = digest.digest_size  # type: ignore[misc]

    def draw(self, random: RandomBytes) -> VersionSecret:
        """A private key drawn by the library, as PKCS#8."""
        private = ec.generate_private_key(self._curve)
        return VersionSecret(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def public_key(self, material: VersionSecret) -> bytes:
        """SubjectPublicKeyInfo with the named curve (RFC 5480)."""
        public = self._private(material).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, material: VersionSecret, message: bytes, manner: Manner) -> bytes:
        """DER, or r || s of 64 or 96 bytes when `manner.raw`."""
        signature = self._private(material).sign(message, self._algorithm(manner))
        if not manner.raw:
            return signature
        return b"".join(n.to_bytes(self._scalar_bytes, "big") for n in decode_dss_signature(signature))

    def verify(self, public_key: bytes, message: bytes, signature: bytes, manner: Manner) -> bool:
        """FIPS 186-5, 6.4.2."""
        if manner.raw:
            half = self._scalar_bytes
            if len(signature) != 2 * half:
                return False
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            signature = encode_dss_signature(r, s)
        public = cast(ec.EllipticCurvePublicKey, load_der_public_key(public_key))
        try:
            public.verify(signature, message, self._algorithm(manner))
        except InvalidSignature:
            return False
        return True

    def _private(self, material: VersionSecret) -> ec.EllipticCurvePrivateKey:
        return cast(ec.EllipticCurvePrivateKey, load_der_private_key(material.reveal(), None))

    def _algorithm(self, manner: Manner) -> ec.ECDSA:
        return ec.ECDSA(Prehashed(self._digest) if manner.digested else self._digest)


class MlDsa(SignatureScheme):
    """ML-DSA of one parameter set. A digest is the message representative mu (FIPS 204, 6.2)."""

    digest_bytes = MU_BYTES
    context_bytes: ClassVar[int] = 255

    def __init__(self, private: Any) -> None:
        self._private_type = private

    def draw(self, random: RandomBytes) -> VersionSecret:
        """The seed xi of 32 bytes."""
        return VersionSecret(random(SEED_BYTES))

    def public_key(self, material: VersionSecret) -> bytes:
        """SubjectPublicKeyInfo (RFC 9881)."""
        public = self._private(material).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, material: VersionSecret, message: bytes, manner: Manner) -> bytes:
        """The signature of FIPS 204, 7.2."""
        private = self._private(material)
        return private.sign_mu(message) if manner.digested else private.sign(message, manner.context)

    def verify(self, public_key: bytes, message: bytes, signature: bytes, manner: Manner) -> bool:
        """FIPS 204, 5.3."""
        public = cast(mldsa.MLDSA65PublicKey, load_der_public_key(public_key))
        try:
            if manner.digested:
                public.verify_mu(signature, message)
            else:
                public.verify(signature, message, manner.context)
        except InvalidSignature:
            return False
        return True

    def check(self, message: bytes, manner: Manner) -> None:
        """As every scheme, and no context beside mu, which has it inside."""
        super().check(message, manner)
        if manner.digested and manner.context:
            raise InputRefused("context", "is inside mu already; send it with a message only")

    def _private(self, material: VersionSecret) -> mldsa.MLDSA65PrivateKey:
        return cast(mldsa.MLDSA65PrivateKey, self._private_type.from_seed_bytes(material.reveal()))
