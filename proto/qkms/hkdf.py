"""HKDF with SHA-256 (RFC 5869), its two steps apart.

Extract and expand are separate because the root and the session schedule put
secrets both in the salt and in the input key material (HMAC as a dual PRF).
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from qkms.errors import InvalidInput

HASH_BYTES = 32
MAX_OUTPUT = 255 * HASH_BYTES

Octets = bytes | bytearray | memoryview


def extract(salt: Octets, ikm: Octets) -> bytes:
    """HKDF-Extract: a pseudorandom key of 32 bytes. An empty salt is 32 zero bytes (RFC 5869, 2.2)."""
    return HKDF.extract(SHA256(), bytes(salt) or None, ikm)


def expand(prk: Octets, info: bytes, length: int) -> bytes:
    """HKDF-Expand: `length` bytes, 1 to 8160. Raises InvalidInput outside that or for a `prk` under 32 bytes."""
    return _expansion(prk, info, length).derive(prk)


def expand_into(prk: Octets, info: bytes, buffer: bytearray) -> int:
    """HKDF-Expand into the whole of `buffer`, which the caller can wipe; the number of bytes written.

    Raises InvalidInput as `expand` does.
    """
    return _expansion(prk, info, len(buffer)).derive_into(prk, buffer)


def _expansion(prk: Octets, info: bytes, length: int) -> HKDFExpand:
    if len(prk) < HASH_BYTES:
        raise InvalidInput(f"a pseudorandom key has at least {HASH_BYTES} bytes, not {len(prk)}")
    if not 1 <= length <= MAX_OUTPUT:
        raise InvalidInput(f"HKDF-Expand gives 1 to {MAX_OUTPUT} bytes, not {length}")
    return HKDFExpand(algorithm=SHA256(), length=length, info=info)
