"""X25519MLKEM768 as a key encapsulation mechanism: one shared secret of 32 bytes.

    public key = ML-KEM-768 encapsulation key (1184) || X25519 public key (32)
    ciphertext = ML-KEM-768 ciphertext (1088) || X25519 public key of the sender (32)
    secret     = HKDF-Expand(HKDF-Extract(salt = 32 zero bytes, IKM = ss_MLKEM768 || ss_X25519),
                             LP(label, SHA-256(LP(both public keys, both ciphertexts))), 32)

The encodings are those of a TLS key share. TLS hands the concatenated secrets
to a key schedule that binds its transcript; who uses a KEM alone has none, so
it is bound here. The secret stays secret while either algorithm holds.
"""

import hashlib

from qkms import labels
from qkms.errors import KemRejected
from qkms.hkdf import expand, extract
from qkms.kem import (
    MLKEM_CIPHERTEXT_BYTES,
    MLKEM_PUBLIC_BYTES,
    X25519_BYTES,
    HybridCiphertext,
    HybridPrivateKey,
    HybridPublicKey,
    SharedSecrets,
    encapsulate,
)

PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + X25519_BYTES
CIPHERTEXT_BYTES = MLKEM_CIPHERTEXT_BYTES + X25519_BYTES
SECRET_BYTES = 32


def hybrid_public_bytes(public: HybridPublicKey) -> bytes:
    """The public key, 1216 bytes."""
    return public.mlkem + public.x25519


def hybrid_encapsulate(public_key: bytes) -> tuple[bytes, bytes]:
    """A ciphertext (1120 bytes) for a public key (1216 bytes), and the shared secret (32 bytes).

    Draws randomness. Raises KemRejected for a public key that cannot be used.
    """
    if len(public_key) != PUBLIC_BYTES:
        raise KemRejected(f"X25519MLKEM768 public key: {len(public_key)} bytes, it must be {PUBLIC_BYTES}")
    public = HybridPublicKey(public_key[:MLKEM_PUBLIC_BYTES], public_key[MLKEM_PUBLIC_BYTES:])
    ciphertext, secrets = encapsulate(public)
    return ciphertext.mlkem + ciphertext.x25519, _combined(secrets, public, ciphertext)


def hybrid_decapsulate(private: HybridPrivateKey, ciphertext: bytes) -> bytes:
    """The shared secret (32 bytes) of a ciphertext. Raises KemRejected for a length or an X25519 key that is none.

    An altered ciphertext gives another secret, not an error.
    """
    if len(ciphertext) != CIPHERTEXT_BYTES:
        raise KemRejected(f"X25519MLKEM768 ciphertext: {len(ciphertext)} bytes, it must be {CIPHERTEXT_BYTES}")
    parts = HybridCiphertext(ciphertext[:MLKEM_CIPHERTEXT_BYTES], ciphertext[MLKEM_CIPHERTEXT_BYTES:])
    return _combined(private.decapsulate(parts), private.public, parts)


def _combined(secrets: SharedSecrets, public: HybridPublicKey, ciphertext: HybridCiphertext) -> bytes:
    prk = extract(b"", secrets.mlkem + secrets.x25519)
    # X25519 ignores the top bit of a public key: unbound, two ciphertexts would give one secret.
    exchange = hashlib.sha256(labels.lp(public.mlkem, public.x25519, ciphertext.mlkem, ciphertext.x25519)).digest()
    return expand(prk, labels.lp(labels.HYBRID_KEM, exchange), SECRET_BYTES)
