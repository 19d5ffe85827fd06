"""Whether an expanded ML-DSA or ML-KEM private key is that of a seed, for PKCS #8 keys that carry both.

ML-DSA (FIPS 204, 7.1): rho || K || tr || s1, s2, t0. Compared are rho, K and tr.
ML-KEM (FIPS 203, 7.1): dk_PKE || ek || H(ek) || z. Compared are ek, H(ek) and z.

Both come from the seed by hashing and bind all of it. s1, s2, t0 and dk_PKE are
not compared: nothing here uses them, the seed alone is kept.
"""

import hashlib
from collections.abc import Callable
from hmac import compare_digest

Agrees = Callable[[bytes, bytes, bytes], bool]
"""Of a seed, an expanded key and the public key (raw) of the seed."""

_RHO = slice(0, 32)
_HEAD_BYTES = 128
_ML_DSA_BYTES = {(4, 4): 2560, (6, 5): 4032, (8, 7): 4896}


def ml_dsa_agrees(rows: int, columns: int) -> Agrees:
    """For the parameter set with this k and l (FIPS 204, table 1)."""

    def agrees(seed: bytes, expanded: bytes, public: bytes) -> bool:
        drawn = hashlib.shake_256(seed + bytes([rows, columns])).digest(128)
        head = public[_RHO] + drawn[96:128] + hashlib.shake_256(public).digest(64)
        size = _ML_DSA_BYTES[rows, columns]
        return len(expanded) == size and compare_digest(expanded[:_HEAD_BYTES], head)

    return agrees


def ml_kem_agrees(rank: int) -> Agrees:
    """For the parameter set with this k (FIPS 203, table 2)."""

    def agrees(seed: bytes, expanded: bytes, public: bytes) -> bool:
        tail = public + hashlib.sha3_256(public).digest() + seed[32:]
        begin = 384 * rank
        return len(expanded) == begin + len(tail) and compare_digest(expanded[begin:], tail)

    return agrees
