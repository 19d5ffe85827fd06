"""Key material wrapped for transport, to one public key: used by both ends of import and export.

    RSA_OAEP_SHA256          RSAES-OAEP, SHA-256 and MGF1-SHA-256, no label (RFC 8017, 7.1)
    MLKEM768_AES_KWP         (ss, ct) = ML-KEM-768.Encaps(ek)                      (FIPS 203)
                             k = HKDF-Expand(ss, LP(label, purpose, SHA-256(LP(ek, ct))), 32)
                             wrapped = ct (1088) || AES-256-KWP(k, material)       (RFC 5649)
    RSA_OAEP_SHA256_AES_KWP  k = 32 random bytes
                             wrapped = RSA_OAEP_SHA256(k) || AES-256-KWP(k, material)

The third is CKM_RSA_AES_KEY_WRAP of PKCS #11, 6.1.9; the same bytes as AWS KMS calls
RSA_AES_KEY_WRAP_SHA_256 and Google Cloud KMS RSA_OAEP_4096_SHA256_AES_256. It takes material
of any length, RSA keys above all.

`purpose` binds what is wrapped to the resource it is for: wrapped for one
import, it does not open as another, nor as an export. The RSA ways are left
without a label so that HSMs and openssl can make them; there the wrapping key
serves one import only. RSA does not outlive a quantum computer: what is
recorded today opens then.

Draws randomness in `generate` and `wrap`: the library offers it no other way.
Leaves out wiping: unwrapped material is a bytes object.
"""

import hashlib
from enum import IntEnum

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
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

MIN_RSA_BITS = 3072
MAX_RSA_BITS = 8192
_KEY_BYTES = 32


class WrappingRejected(CryptoError):
    """A public key that cannot be wrapped to, or wrapped material that does not open under this key."""

    code = "WRAPPING_REJECTED"


class Method(IntEnum):
    """Ways to wrap; numbers are those of the protocol."""

    RSA_OAEP_SHA256 = 1
    MLKEM768_AES_KWP = 2
    RSA_OAEP_SHA256_AES_KWP = 3


RSA_BITS = {Method.RSA_OAEP_SHA256: 3072, Method.RSA_OAEP_SHA256_AES_KWP: 4096}
"""Of the wrapping keys made here: 4096 where RSA keys of 4096 bits come in."""


class WrappingPrivateKey(Redacted):
    """A private key that wrapped material opens under; `public` is its public key as the protocol carries it."""

    def __init__(self, method: Method, key: rsa.RSAPrivateKey | MLKEM768PrivateKey) -> None:
        self._key = key
        self.method = method
        if isinstance(key, rsa.RSAPrivateKey):
            spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            self.public = spki
        else:
            self.public = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, method: Method) -> "WrappingPrivateKey":
        """A fresh key pair: ML-KEM-768, or RSA, which takes a second. Draws randomness."""
        if method is Method.MLKEM768_AES_KWP:
            return cls(method, MLKEM768PrivateKey.generate())
        return cls(method, rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS[method]))

    @classmethod
    def from_bytes(cls, method: Method, data: bytes) -> "WrappingPrivateKey":
        """The inverse of `to_bytes`, of a source that is trusted: RSA's numbers are not checked, which
        takes a tenth of a second. Raises WrappingRejected."""
        try:
            if method is Method.MLKEM768_AES_KWP:
                return cls(method, MLKEM768PrivateKey.from_seed_bytes(data))
            key = load_der_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
        except UNREADABLE:
            # Not chained: the library's message may quote the key.
            raise WrappingRejected(f"this is no private key for {method.name}") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise WrappingRejected("this is no RSA private key")
        return cls(method, key)

    def to_bytes(self) -> bytes:
        """PKCS #8 DER for RSA; the ML-KEM seed d || z (64 bytes, FIPS 203). Secret."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return self._key.private_bytes_raw()

    def unwrap(self, wrapped: bytes, purpose: str) -> bytes:
        """The material. Raises WrappingRejected, which does not say what did not match: an oracle otherwise."""
        try:
            if isinstance(self._key, rsa.RSAPrivateKey):
                return self._unwrap_rsa(self._key, wrapped)
            ciphertext, sealed = wrapped[:MLKEM_CIPHERTEXT_BYTES], wrapped[MLKEM_CIPHERTEXT_BYTES:]
            shared = self._key.decapsulate(ciphertext)
            return aes_key_unwrap_with_padding(_kwp_key(shared, purpose, self.public, ciphertext), sealed)
        except (ValueError, InvalidUnwrap):
            raise WrappingRejected(
                "the wrapped material does not open: wrapped to another key, for another purpose, or altered"
            ) from None

    def _unwrap_rsa(self, key: rsa.RSAPrivateKey, wrapped: bytes) -> bytes:
        if self.method is Method.RSA_OAEP_SHA256:
            return key.decrypt(wrapped, _oaep())
        size = key.key_size // 8
        kwp_key = key.decrypt(wrapped[:size], _oaep())
        if len(kwp_key) != _KEY_BYTES:
            raise InvalidUnwrap
        return aes_key_unwrap_with_padding(kwp_key, wrapped[size:])


def wrap(method: Method, public: bytes, material: bytes, purpose: str) -> bytes:
    """`material` wrapped to a public key (RSA: DER SubjectPublicKeyInfo; ML-KEM: 1184 bytes). Draws randomness.

    Raises WrappingRejected for a bad key, InvalidInput for material that does not fit.
    """
    if not material:
        raise InvalidInput("there is no material to wrap")
    if method is Method.RSA_OAEP_SHA256_AES_KWP:
        kwp_key = AESGCM.generate_key(8 * _KEY_BYTES)
        wrapped_key = _oaep_encrypted(_rsa_public(public), kwp_key)
        return wrapped_key + aes_key_wrap_with_padding(kwp_key, material)
    if method is Method.RSA_OAEP_SHA256:
        key = _rsa_public(public)
        room = key.key_size // 8 - 2 * SHA256.digest_size - 2
        if len(material) > room:
            raise InvalidInput(
                f"material of {len(material)} bytes does not fit RSA-OAEP, which takes {room}; "
                f"{Method.RSA_OAEP_SHA256_AES_KWP.name} and {Method.MLKEM768_AES_KWP.name} take any length"
            )
        return _oaep_encrypted(key, material)
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
    if not isinstance(key, rsa.RSAPublicKey) or not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise WrappingRejected(f"the public key must be RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    return key


def _oaep_encrypted(key: rsa.RSAPublicKey, data: bytes) -> bytes:
    try:
        return key.encrypt(data, _oaep())
    except ValueError:
        raise WrappingRejected("the RSA public key cannot encrypt: its modulus is not one of RSA") from None


def _oaep() -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)


def _kwp_key(shared: bytes, purpose: str, public: bytes, ciphertext: bytes) -> bytes:
    exchange = hashlib.sha256(labels.lp(public, ciphertext)).digest()
    return expand(shared, labels.lp(labels.MATERIAL_WRAP, purpose, exchange), 32)
