"""Bytes sealed to the holder of a hybrid private key: ML-KEM-768 and X25519 together.

    PRK    = HKDF-Extract(salt = 32 zero bytes, IKM = ss_MLKEM768 || ss_X25519)
    k      = HKDF-Expand(PRK, LP(label, SHA-256(LP(both public keys, both ciphertexts)), purpose...), 32)
    sealed = ML-KEM ciphertext (1088) || X25519 public key (32) || AES-256-GCM(k, nonce 0, payload)

`k` serves once, so the fixed nonce is safe. The purpose is bound: what is sealed
for one end does not open as another. Closed while ML-KEM-768 or X25519 holds.
Leaves out who sealed it: anybody can. The openers check what is inside.
"""

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import KemRejected, SealedRejected
from qkms.hkdf import expand, extract
from qkms.kem import (
    MLKEM_CIPHERTEXT_BYTES,
    X25519_BYTES,
    HybridCiphertext,
    HybridPrivateKey,
    HybridPublicKey,
    SharedSecrets,
    encapsulate,
)

Purpose = tuple[bytes | str | int, ...]

OVERHEAD = MLKEM_CIPHERTEXT_BYTES + X25519_BYTES + 16
"""Bytes by which the sealed form is longer than the payload: 1136."""
_X25519_END = MLKEM_CIPHERTEXT_BYTES + X25519_BYTES
_NONCE = bytes(12)


def seal_to(public: HybridPublicKey, payload: bytes | memoryview, purpose: Purpose) -> bytes:
    """`payload` for the holder of `public`. Draws randomness. Raises KemRejected for a bad key."""
    ciphertext, secrets = encapsulate(public)
    key = _key(secrets, public, ciphertext, purpose)
    return ciphertext.mlkem + ciphertext.x25519 + AESGCM(key).encrypt(_NONCE, payload, None)


def open_sealed_to(private: HybridPrivateKey, sealed: bytes, purpose: Purpose) -> bytes:
    """The inverse of `seal_to`. Raises SealedRejected: altered, for another key, or for another purpose."""
    try:
        ciphertext = HybridCiphertext(sealed[:MLKEM_CIPHERTEXT_BYTES], sealed[MLKEM_CIPHERTEXT_BYTES:_X25519_END])
        key = _key(private.decapsulate(ciphertext), private.public, ciphertext, purpose)
        return AESGCM(key).decrypt(_NONCE, sealed[_X25519_END:], None)
    except (InvalidTag, KemRejected) as error:
        raise SealedRejected(
            "it does not open: sealed to another key or for another purpose, or altered"
        ) from error


def _key(secrets: SharedSecrets, public: HybridPublicKey, ciphertext: HybridCiphertext, purpose: Purpose) -> bytes:
    exchange = hashlib.sha256(labels.lp(public.mlkem, public.x25519, ciphertext.mlkem, ciphertext.x25519)).digest()
    prk = extract(bytes(32), secrets.mlkem + secrets.x25519)
    return expand(prk, labels.lp(labels.SEALED_TO, exchange, *purpose), 32)
