"""Privacy amplification is the Toeplitz product over GF(2), exactly, and a two-universal hash."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms_qkd.bb84.chain.toeplitz import amplify, parities, seed_bits
from qkms_qkd.bb84.physics.records import Bits


def naive(key: Bits, out_bits: int, seed: Bits) -> list[int]:
    """Row by row: row i of the matrix is seed[i + n - 1] down to seed[i]."""
    rows = [[seed[i + key.size - 1 - j] for j in range(key.size)] for i in range(out_bits)]
    return [sum(int(m) & int(k) for m, k in zip(row, key, strict=True)) % 2 for row in rows]


def bits(count: int, seed: int) -> Bits:
    return np.random.default_rng(seed).integers(0, 2, count, dtype=np.uint8)


@settings(deadline=None)
@given(st.data())
def test_as_the_naive_product(data: st.DataObject) -> None:
    key_bits = data.draw(st.integers(1, 120))
    out_bits = data.draw(st.integers(1, key_bits))
    tile = data.draw(st.integers(1, 150))
    key, seed = bits(key_bits, 1), bits(seed_bits(key_bits, out_bits), data.draw(st.integers(0, 1000)))
    assert amplify(key, out_bits, seed, tile).tolist() == naive(key, out_bits, seed)


@settings(deadline=None)
@given(key_bits=st.integers(2, 3000), seed=st.integers(0, 2**32))
def test_linear(key_bits: int, seed: int) -> None:
    out_bits = max(1, key_bits // 3)
    one, other, matrix = bits(key_bits, seed), bits(key_bits, seed + 1), bits(seed_bits(key_bits, out_bits), seed)
    both = amplify(one ^ other, out_bits, matrix)
    assert (both == amplify(one, out_bits, matrix) ^ amplify(other, out_bits, matrix)).all()
    assert not amplify(np.zeros(key_bits, np.uint8), out_bits, matrix).any()


def test_every_difference_vanishes_under_just_one_matrix_in_four() -> None:
    """Two-universal, by trying all seeds: keys of five bits, two bits out."""
    seeds = [np.array(seed, np.uint8) for seed in itertools.product((0, 1), repeat=seed_bits(5, 2))]
    for difference in itertools.product((0, 1), repeat=5):
        if any(difference):
            key = np.array(difference, np.uint8)
            assert sum(not amplify(key, 2, seed).any() for seed in seeds) * 4 == len(seeds)


def test_large_products_agree_whatever_the_tiles() -> None:
    """All ones make the largest sums; a random key makes the usual ones."""
    for key in (np.ones(700_000, np.uint8), bits(700_000, 5)):
        seed = bits(seed_bits(key.size, 100_000), 6)
        found = amplify(key, 100_000, seed)
        assert (found == amplify(key, 100_000, seed, tile_bits=40_000)).all()
        for row in (0, 1, 77_777, 99_999):
            assert found[row] == int((seed[row : row + key.size][::-1] & key).sum()) % 2


def test_ones_times_ones_is_the_length() -> None:
    key = np.ones(1001, np.uint8)
    assert amplify(key, 10, np.ones(seed_bits(1001, 10), np.uint8)).tolist() == [1] * 10


def test_a_sum_that_is_no_integer_is_not_rounded() -> None:
    assert parities(np.array([0.0, 1.01, 1.99, 7.0])).tolist() == [0, 1, 0, 1]
    with pytest.raises(ArithmeticError, match="precision"):
        parities(np.array([0.0, 1.3]))


@pytest.mark.parametrize(("out_bits", "seed_length"), [(0, 9), (11, 20), (4, 12), (4, 14)])
def test_wrong_sizes_are_refused(out_bits: int, seed_length: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        amplify(bits(10, 1), out_bits, bits(seed_length, 2))
