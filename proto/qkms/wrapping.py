"""Key material wrapped for transport, to one public key: used by both ends of import and export.

    RSA_OAEP_SHA256   RSAES-OAEP, SHA-256 and MGF1-SHA-256, no label (RFC 8017, 7.1)
    MLKEM768_AES_KWP  (ss, ct) = ML-KEM-768.Encaps(ek)                      (FIPS 203)
                      k = HKDF-Expand(ss, LP(label, purpose, SHA-256(LP(ek, ct))), 32)
                      wrapped = ct (1088) || AES-256-KWP(k, material)       (RFC 5649)

`purpose` binds what is wrapped to the resource it is for: wrapped for one
import, it does not open as another, nor as an export. RSA-OAEP is left without
a label so that HSMs and openssl can make it; there the wrapping key serves one
import only. RSA does not outlive a quantum computer: what is recorded today
opens then.

Draws randomness in `generate` and `wrap`: the library offers it no other way.
Leaves out wiping: unwrapped material is a bytes object.
"""

import hashlib
from enum import IntEnum

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from qkms import labels
from qkms.certificates import UNREADABLE
from qkms.errors import CryptoError, InvalidInput
from qkms.hkdf import expand
from qkms.kem import MLKEM_CIPHERTEXT_BYTES, MLKEM_PUBLIC_BYTES
from qkms.redacted import Redacted

RSA_BITS = 3072
MAX_RSA_BITS = 8192


class WrappingRejected(CryptoError):
    """A public key that cannot be wrapped to, or wrapped material that does not open under this key."""

    code = "WRAPPING_REJECTED"


class Method(IntEnum):
    """Ways to wrap; numbers are those of the protocol."""

    RSA_OAEP_SHA256 = 1
    MLKEM768_AES_KWP = 2


class WrappingPrivateKey(Redacted):
    """A private key that wrapped material opens under; `public` is its public key as the protocol carries it."""

    def __init__(self, key: rsa.RSAPrivateKey | MLKEM768PrivateKey) -> None:
        self._key = key
        if isinstance(key, rsa.RSAPrivateKey):
            self.method = Method.RSA_OAEP_SHA256
            spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            self.public = spki
        else:
            self.method = Method.MLKEM768_AES_KWP
            self.public = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, method: Method) -> "WrappingPrivateKey":
        """A fresh key pair: RSA-3072, which takes about a second, or ML-KEM-768. Draws randomness."""
        if method is Method.RSA_OAEP_SHA256:
            return cls(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS))
        return cls(MLKEM768PrivateKey.generate())

    @classmethod
    def from_bytes(cls, method: Method, data: bytes) -> "WrappingPrivateKey":
        """The inverse of `to_bytes`, of a source that is trusted: RSA's numbers are not checked, which
        takes a tenth of a second. Raises WrappingRejected."""
        try:
            if method is Method.MLKEM768_AES_KWP:
                return cls(MLKEM768PrivateKey.from_seed_bytes(data))
            key = load_der_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
        except UNREADABLE:
            # Not chained: the library's message may quote the key.
            raise WrappingRejected(f"this is no private key for {method.name}") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise WrappingRejected("this is no RSA private key")
        return cls(key)

    def to_bytes(self) -> bytes:
        """PKCS #8 DER for RSA; the ML-KEM seed d || z (64 bytes, FIPS 203). Secret."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return self._key.private_bytes_raw()

    def unwrap(self, wrapped: bytes, purpose: str) -> bytes:
        """The material. Raises WrappingRejected, which does not say what did not match: an oracle otherwise."""
        try:
            if isinstance(self._key, rsa.RSAPrivateKey):
                return self._key.decrypt(wrapped, _oaep())
            ciphertext, sealed = wrapped[:MLKEM_CIPHERTEXT_BYTES], wrapped[MLKEM_CIPHERTEXT_BYTES:]
            shared = self._key.decapsulate(ciphertext)
            return aes_key_unwrap_with_padding(_kwp_key(shared, purpose, self.public, ciphertext), sealed)
        except (ValueError, InvalidUnwrap):
            raise WrappingRejected(
                "the wrapped material does not open: wrapped to another key, for another purpose, or altered"
            ) from None


def wrap(method: Method, public: bytes, material: bytes, purpose: str) -> bytes:
    """`material` wrapped to a public key (RSA: DER SubjectPublicKeyInfo; ML-KEM: 1184 bytes). Draws randomness.

    Raises WrappingRejected for a bad key, InvalidInput for material that does not fit.
    """
    if not material:
        raise InvalidInput("there is no material to wrap")
    if method is Method.RSA_OAEP_SHA256:
        key = _rsa_public(public)
        room = key.key_size // 8 - 2 * SHA256.digest_size - 2
        if len(material) > room:
            raise InvalidInput(f"material of {len(material)} bytes does not fit RSA-OAEP, which takes {room}")
        try:
            return key.encrypt(material, _oaep())
        except ValueError:
            raise WrappingRejected("the RSA public key cannot encrypt: its modulus is not one of RSA") from None
    if len(public) != MLKEM_PUBLIC_BYTES:
        raise WrappingRejected(
            f"an ML-KEM-768 encapsulation key has {MLKEM_PUBLIC_BYTES} bytes, not {len(public)}"
        )
    try:
        shared, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    except ValueError as error:
        raise WrappingRejected(
            "the ML-KEM-768 encapsulation key has a coefficient out of range (FIPS 203, 7.2)"
        ) from error
    return ciphertext + aes_key_wrap_with_padding(_kwp_key(shared, purpose, public, ciphertext), material)


def _rsa_public(public: bytes) -> rsa.RSAPublicKey:
    try:
        key = load_der_public_key(public)
    except UNREADABLE as error:
        raise WrappingRejected("the RSA public key is not a DER SubjectPublicKeyInfo") from error
    if not isinstance(key, rsa.RSAPublicKey) or not RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise WrappingRejected(f"the public key must be RSA of {RSA_BITS} to {MAX_RSA_BITS} bits")
    return key


def _oaep() -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)


def _kwp_key(shared: bytes, purpose: str, public: bytes, ciphertext: bytes) -> bytes:
    exchange = hashlib.sha256(labels.lp(public, ciphertext)).digest()
    return expand(shared, labels.lp(labels.MATERIAL_WRAP, purpose, exchange), 32)
