"""HKDF with SHA-256 (RFC 5869), its two steps apart.

Extract and expand are separate because the root and the session schedule put
secrets both in the salt and in the input key material (HMAC as a dual PRF).
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HASH_BYTES = 32
MAX_OUTPUT = 255 * HASH_BYTES


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract: a pseudorandom key of 32 bytes. An empty salt is 32 zero bytes (RFC 5869, 2.2)."""
    return hmac.new(salt or bytes(HASH_BYTES), ikm, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand: `length` bytes, 1 to 8160. Raises ValueError outside that or for a short `prk`."""
    if len(prk) < HASH_BYTES:
        raise ValueError(f"a pseudorandom key has at least {HASH_BYTES} bytes, not {len(prk)}")
    if not 1 <= length <= MAX_OUTPUT:
        raise ValueError(f"HKDF-Expand gives 1 to {MAX_OUTPUT} bytes, not {length}")
    return HKDFExpand(algorithm=SHA256(), length=length, info=info).derive(prk)
