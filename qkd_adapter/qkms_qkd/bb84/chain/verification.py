"""Verification: do both parties hold the same key after error correction?

Alice draws a random point, evaluates her key as a polynomial there, and sends both: the hash of Poly1305 without
the pad (RFC 8439, 2.5). The point is drawn after the keys are fixed, so two keys of n bits that differ pass with
probability at most 8 ceil(n / 128) / 2^106, which is 2^-86 for ten million bits. The value is sent in clear and
costs VALUE_BITS bits of the key. Pure.
"""

import numpy as np
from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkms_qkd.bb84.physics.records import Bits

POINT_BYTES = 16
VALUE_BITS = 128


def value(key: Bits, point: bytes) -> bytes:
    """The hash of the key at this point (16 bytes); the length in bits is part of it."""
    packed = np.packbits(key).tobytes()
    return Poly1305.generate_tag(point + bytes(16), key.size.to_bytes(8, "big") + packed)


def failure_probability(key_bits: int) -> float:
    """The probability that different keys pass."""
    return 8 * (key_bits // 128 + 2) / 2.0**106
