"""How material looks outside a cluster, by algorithm: what import takes and export gives.

| algorithm | outside | source |
|---|---|---|
| AES, HMAC | the key, 32 or 64 bytes | |
| Ed25519 | PKCS #8, or the seed of 32 bytes | RFC 8410 |
| ECDSA | PKCS #8 with ECPrivateKey, named curve | RFC 5915 |
| RSA | PKCS #8 with RSAPrivateKey, rsaEncryption | RFC 8017, A.1.2 |
| ML-DSA, ML-KEM | PKCS #8 with a seed, or the seed of 32 or 64 bytes | RFC 9881, RFC 9935 |
| SLH-DSA | PKCS #8 with the private key of 64 or 96 bytes | RFC 9909 |
| X25519MLKEM768 | ML-KEM seed, then X25519 scalar, 96 bytes | none: it has no standard private encoding |

Export gives the first form. Import checks that what comes is sound, and keeps it
in the form that the algorithm's scheme draws. Of ML-DSA and ML-KEM the form
with seed and expanded key is taken too; an expanded key alone has lost its seed
and is refused.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from qkms import der
from qkms.certificates import UNREADABLE
from qkms.errors import InvalidInput
from qkms_node.keys import identifiers
from qkms_node.keys.errors import MaterialRejected
from qkms_node.keys.expanded import Agrees, ml_dsa_agrees, ml_kem_agrees
from qkms_node.keys.identifiers import NAMES
from qkms_node.keys.pkcs8 import PrivateKeyInfo, subject_public_key
from qkms_node.keys.rsa_soundness import check_rsa
from qkms_node.keys.scheme import Manner, RandomBytes, Scheme, SignatureScheme
from qkms_node.keys.secret import VersionSecret

_SEED = 0x80


class MaterialEncoding(ABC):
    """The outside form of one algorithm's material."""

    @abstractmethod
    def take_in(self, outside: bytes, scheme: Scheme, random: RandomBytes) -> VersionSecret:
        """Checked material as `scheme` takes it. Raises MaterialRejected, which quotes nothing of it."""

    @abstractmethod
    def give_out(self, material: VersionSecret) -> bytes:
        """The outside form. Secret."""


class Raw(MaterialEncoding):
    """The bytes themselves."""

    def __init__(self, size: int) -> None:
        self._size = size

    def take_in(self, outside: bytes, scheme: Scheme, random: RandomBytes) -> VersionSecret:
        """Of the right length, and not one byte over and over."""
        if len(outside) != self._size:
            raise MaterialRejected(f"it has {len(outside)} bytes, the key takes {self._size}")
        return VersionSecret(_varied(outside))

    def give_out(self, material: VersionSecret) -> bytes:
        """As it is."""
        return bytes(material.reveal())


class Pkcs8(MaterialEncoding):
    """A PKCS #8 private key under the AlgorithmIdentifier `identifier` (DER)."""

    def __init__(self, identifier: bytes) -> None:
        self._identifier = identifier

    def take_in(self, outside: bytes, scheme: Scheme, random: RandomBytes) -> VersionSecret:
        """Of exactly this algorithm, sound, and with no public key but its own."""
        info = PrivateKeyInfo.from_bytes(outside)
        if info.algorithm != self._identifier:
            found = NAMES.get(info.algorithm, "another algorithm")
            raise MaterialRejected(f"it is a private key of {found}, not of {NAMES[self._identifier]}")
        try:
            material = VersionSecret(self._material(info.private, scheme, random))
        except InvalidInput as error:
            raise MaterialRejected(f"what is inside its PKCS #8 is malformed: {error}") from None
        if info.public is not None and info.public != subject_public_key(scheme.public_key(material)):
            material.wipe()
            raise MaterialRejected("its public key is not that of its private key")
        return material

    def give_out(self, material: VersionSecret) -> bytes:
        """PrivateKeyInfo of version 0."""
        return PrivateKeyInfo(self._identifier, self._private(bytes(material.reveal()))).to_bytes()

    @abstractmethod
    def _material(self, private: bytes, scheme: Scheme, random: RandomBytes) -> bytes:
        """Material from the content of `privateKey`. Raises MaterialRejected, InvalidInput."""

    @abstractmethod
    def _private(self, material: bytes) -> bytes:
        """The content of `privateKey`."""


class Seeded(Pkcs8):
    """A seed: Ed25519, ML-DSA, ML-KEM. `agrees` judges an expanded key beside it; None: there is none."""

    def __init__(self, identifier: bytes, size: int, agrees: Agrees | None = None) -> None:
        super().__init__(identifier)
        self._size = size
        self._agrees = agrees
        self._tag = der.OCTET_STRING if agrees is None else _SEED

    def take_in(self, outside: bytes, scheme: Scheme, random: RandomBytes) -> VersionSecret:
        """Also the bare seed, which is shorter than any PKCS #8 key around it."""
        if len(outside) == self._size:
            return VersionSecret(_varied(outside))
        return super().take_in(outside, scheme, random)

    def _material(self, private: bytes, scheme: Scheme, random: RandomBytes) -> bytes:
        if self._agrees is None or der.begins_with(private, self._tag):
            return self._seed(der.whole(private, self._tag))
        if der.begins_with(private, der.OCTET_STRING):
            raise MaterialRejected("it has an expanded key without its seed; the cluster keeps seeds only")
        seed, rest = der.first(der.whole(private, der.SEQUENCE), der.OCTET_STRING)
        expanded = der.whole(rest, der.OCTET_STRING)
        with VersionSecret(self._seed(seed)) as material:
            public = subject_public_key(scheme.public_key(material))
        if not self._agrees(seed, expanded, public):
            raise MaterialRejected("its expanded key is not that of its seed")
        return seed

    def _private(self, material: bytes) -> bytes:
        return der.tlv(self._tag, material)

    def _seed(self, seed: bytes) -> bytes:
        if len(seed) != self._size:
            raise MaterialRejected(f"its seed has {len(seed)} bytes, the key takes {self._size}")
        return _varied(seed)


class ByLibrary(Pkcs8):
    """Material that is PKCS #8 itself, as the library writes it."""

    def _private(self, material: bytes) -> bytes:
        return PrivateKeyInfo.from_bytes(material).private


class EllipticCurve(ByLibrary):
    """ECDSA on the curve that the identifier names."""

    def _material(self, private: bytes, scheme: Scheme, random: RandomBytes) -> bytes:
        info = PrivateKeyInfo(self._identifier, private)
        try:
            key = cast(EllipticCurvePrivateKey, load_der_private_key(info.to_bytes(), None))
        except UNREADABLE:
            raise MaterialRejected(
                "its scalar is out of range, or its public key or curve is not that of its private key"
            ) from None
        if key.private_numbers().private_value.bit_length() <= key.key_size // 2:
            raise MaterialRejected("its scalar is so short that it can be found from the public key")
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


class Rsa(ByLibrary):
    """RSA of `bits`."""

    def __init__(self, identifier: bytes, bits: int) -> None:
        super().__init__(identifier)
        self._bits = bits

    def _material(self, private: bytes, scheme: Scheme, random: RandomBytes) -> bytes:
        info = PrivateKeyInfo(self._identifier, private)
        try:
            key = load_der_private_key(info.to_bytes(), None, unsafe_skip_rsa_key_validation=True)
            numbers = cast(RSAPrivateKey, key).private_numbers()
        except UNREADABLE:
            raise MaterialRejected("what is inside its PKCS #8 is no RSA private key of two factors") from None
        check_rsa(numbers, self._bits, random)
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


class HashBased(Pkcs8):
    """SLH-DSA: SK.seed || SK.prf || PK.seed || PK.root of `size` bytes."""

    def __init__(self, identifier: bytes, size: int) -> None:
        super().__init__(identifier)
        self._size = size

    def _material(self, private: bytes, scheme: Scheme, random: RandomBytes) -> bytes:
        if len(private) != self._size:
            raise MaterialRejected(f"its private key has {len(private)} bytes, the key takes {self._size}")
        _varied(private[: self._size // 4])
        # The library does not compute PK.root; a signature that verifies under it does.
        signatures = cast(SignatureScheme, scheme)
        with VersionSecret(private) as material:
            signature = signatures.sign(material, b"", Manner())
            if not signatures.verify(scheme.public_key(material), b"", signature, Manner()):
                raise MaterialRejected("its public key is not that of its private key")
        return private

    def _private(self, material: bytes) -> bytes:
        return material


def _varied(secret: bytes) -> bytes:
    if len(set(secret)) == 1:
        raise MaterialRejected("it is one byte over and over: drawn by nothing")
    return secret


ENCODINGS: Mapping[str, MaterialEncoding] = {
    "AES_256_GCM": Raw(32),
    "HMAC_SHA256": Raw(32),
    "HMAC_SHA512": Raw(64),
    "ED25519": Seeded(identifiers.ED25519, 32),
    "ECDSA_P256_SHA256": EllipticCurve(identifiers.P256),
    "ECDSA_P384_SHA384": EllipticCurve(identifiers.P384),
    "RSA_3072_PSS_SHA256": Rsa(identifiers.RSA, 3072),
    "RSA_4096_PSS_SHA256": Rsa(identifiers.RSA, 4096),
    "RSA_3072_OAEP_SHA256": Rsa(identifiers.RSA, 3072),
    "RSA_4096_OAEP_SHA256": Rsa(identifiers.RSA, 4096),
    "ML_DSA_44": Seeded(identifiers.ML_DSA_44, 32, ml_dsa_agrees(4, 4)),
    "ML_DSA_65": Seeded(identifiers.ML_DSA_65, 32, ml_dsa_agrees(6, 5)),
    "ML_DSA_87": Seeded(identifiers.ML_DSA_87, 32, ml_dsa_agrees(8, 7)),
    "SLH_DSA_SHA2_128F": HashBased(identifiers.SLH_DSA_SHA2_128F, 64),
    "SLH_DSA_SHA2_192F": HashBased(identifiers.SLH_DSA_SHA2_192F, 96),
    "ML_KEM_768": Seeded(identifiers.ML_KEM_768, 64, ml_kem_agrees(3)),
    "ML_KEM_1024": Seeded(identifiers.ML_KEM_1024, 64, ml_kem_agrees(4)),
    "X25519MLKEM768": Raw(96),
}
