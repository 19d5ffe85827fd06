"""RSA (RFC 8017): PSS signatures and OAEP encryption, each key for one of the two.

Material is PKCS#8 in DER, the public half SubjectPublicKeyInfo in DER; the
exponent is 65537. Hash and MGF1 hash are SHA-256; the salt of PSS has 32 bytes,
the label of OAEP is empty. Leaves out PKCS#1 v1.5: its encryption has a padding
oracle by design (Bleichenbacher).

The library checks primes when it loads a key, which takes a third of a second
at 4096 bits and holds up every thread. Material comes out of an authenticated
wrap of what this module drew, or of what `keys.rsa_soundness` found sound at its
import, so that check is skipped.
"""

from typing import cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from qkms_node.keys.errors import CiphertextMalformed, CiphertextRejected, PlaintextTooLong
from qkms_node.keys.rsa_soundness import EXPONENT
from qkms_node.keys.scheme import Manner, PublicKeyEncryptionScheme, RandomBytes, Scheme, SignatureScheme
from qkms_node.keys.secret import VersionSecret

HASH_BYTES = 32

_PSS = padding.PSS(padding.MGF1(SHA256()), HASH_BYTES)
_OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


class _Rsa(Scheme):
    """Drawing and encodings, the same for both uses. `bits`: of the modulus."""

    slow_to_draw = True

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def draw(self, random: RandomBytes) -> VersionSecret:
        """A private key drawn by the library, as PKCS#8."""
        private = generate_private_key(EXPONENT, self._bits)
        return VersionSecret(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def public_key(self, material: VersionSecret) -> bytes:
        """SubjectPublicKeyInfo with rsaEncryption (RFC 3279)."""
        return _private(material).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class RsaPss(_Rsa, SignatureScheme):
    """RSASSA-PSS; a signature is as long as the modulus."""

    digest_bytes = HASH_BYTES

    def sign(self, material: VersionSecret, message: bytes, manner: Manner) -> bytes:
        """RFC 8017, 8.1.1."""
        return _private(material).sign(message, _PSS, _hash(manner))

    def verify(self, public_key: bytes, message: bytes, signature: bytes, manner: Manner) -> bool:
        """RFC 8017, 8.1.2; another length of salt is not accepted."""
        try:
            _public(public_key).verify(signature, message, _PSS, _hash(manner))
        except InvalidSignature:
            return False
        return True


class RsaOaep(_Rsa, PublicKeyEncryptionScheme):
    """RSAES-OAEP; a ciphertext is as long as the modulus."""

    def encrypt(self, public_key: bytes, plaintext: bytes) -> bytes:
        """RFC 8017, 7.1.1: up to 318 bytes (3072 bits) or 446 bytes (4096 bits). Raises PlaintextTooLong."""
        limit = self._bits // 8 - 2 * HASH_BYTES - 2
        if len(plaintext) > limit:
            raise PlaintextTooLong(len(plaintext), limit)
        return _public(public_key).encrypt(plaintext, _OAEP)

    def decrypt(self, material: VersionSecret, ciphertext: bytes) -> bytes:
        """RFC 8017, 7.1.2. Raises CiphertextMalformed for another length, else CiphertextRejected."""
        if len(ciphertext) != self._bits // 8:
            raise CiphertextMalformed(f"is {len(ciphertext)} bytes, of this key it has {self._bits // 8}")
        try:
            return _private(material).decrypt(ciphertext, _OAEP)
        except ValueError:
            # One error for every reason, and unchained: telling them apart opens any
            # ciphertext in about a thousand tries (Manger 2001).
            raise CiphertextRejected("the ciphertext does not open") from None


def _private(material: VersionSecret) -> RSAPrivateKey:
    key = load_der_private_key(material.reveal(), None, unsafe_skip_rsa_key_validation=True)
    return cast(RSAPrivateKey, key)


def _public(public_key: bytes) -> RSAPublicKey:
    return cast(RSAPublicKey, load_der_public_key(public_key))


def _hash(manner: Manner) -> SHA256 | Prehashed:
    return Prehashed(SHA256()) if manner.digested else SHA256()
