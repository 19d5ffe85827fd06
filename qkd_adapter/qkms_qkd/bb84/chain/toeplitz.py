"""Privacy amplification: a random Toeplitz matrix over GF(2) times the key, by FFT, exactly.

Toeplitz matrices are a two-universal family (Krawczyk, Crypto '94; Mansour, Nisan, Tiwari 1993). Row i of the
matrix is seed[i + n - 1], seed[i + n - 2], ... seed[i]: out[i] = sum over j of seed[i + n - 1 - j] key[j], mod 2.
The product is a stretch of a convolution of 0s and 1s over the integers. It is taken tile by tile, so that
memory stays bounded by the key's own spectra. Each sum is an integer; floating point errs by at most a few times
2^-53 log2(2 tile) times the factors' norms, below 1e-5 for keys of up to 10^8 bits, so rounding is exact. A
residue that is larger all the same raises ArithmeticError. Pure.
"""

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.physics.records import Bits

TILE_BITS = 1 << 18
_MAX_RESIDUE = 0.05


def seed_bits(key_bits: int, out_bits: int) -> int:
    """How many random bits the matrix takes."""
    return key_bits + out_bits - 1


def amplify(key: Bits, out_bits: int, seed: Bits, tile_bits: int = TILE_BITS) -> Bits:
    """The first `out_bits` bits of the product. Raises ValueError if the seed has another length."""
    if not 0 < out_bits <= key.size:
        raise ValueError(f"from {key.size} bits there are 1 to {key.size} to be had, not {out_bits}")
    if seed.size != seed_bits(key.size, out_bits):
        raise ValueError(f"the seed must have {seed_bits(key.size, out_bits)} bits, not {seed.size}")
    tile = min(tile_bits, 1 << (key.size - 1).bit_length())
    columns = -(-key.size // tile)
    # Padded in front by zeros, the key fills whole tiles; the matrix gains columns that meet only zeros.
    padding = columns * tile - key.size
    padded = np.concatenate([np.zeros(padding, np.uint8), key])
    rows = -(-out_bits // tile)
    diagonals = np.zeros((rows + columns) * tile, np.uint8)
    diagonals[: seed.size] = seed
    spectra = [np.fft.rfft(padded[j * tile : (j + 1) * tile], 2 * tile) for j in range(columns)]
    parts = []
    for i in range(rows):
        total = np.zeros(tile + 1, np.complex128)
        for j, spectrum in enumerate(spectra):
            start = (i + columns - 1 - j) * tile
            total += np.fft.rfft(diagonals[start : start + 2 * tile]) * spectrum
        parts.append(parities(np.fft.irfft(total, 2 * tile)[tile - 1 : 2 * tile - 1]))
    return np.concatenate(parts)[:out_bits]


def parities(sums: NDArray[np.float64]) -> Bits:
    """Sums that are integers but for rounding, mod 2. Raises ArithmeticError."""
    whole = np.rint(sums)
    residue = float(np.abs(sums - whole).max())
    if residue > _MAX_RESIDUE:
        raise ArithmeticError(f"privacy amplification lost precision: residue {residue:.3f}; use smaller tiles")
    return (whole.astype(np.int64) & 1).astype(np.uint8)
