"""Shamir's sharing: against an independent implementation and slow arithmetic; any k of n, never k - 1."""

import itertools

import pyshamir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms.errors import InvalidInput
from qkms.shamir import _inverse, _product, combine, split


def by_schoolbook(a: int, b: int) -> int:
    """The product in the field of AES: polynomial multiplication, then long division by x^8+x^4+x^3+x+1."""
    product = 0
    for i in range(8):
        if b >> i & 1:
            product ^= a << i
    for i in range(14, 7, -1):
        if product >> i & 1:
            product ^= 0x11B << (i - 8)
    return product


def test_the_field_is_that_of_aes() -> None:
    assert all(_product(a, b) == by_schoolbook(a, b) for a in range(256) for b in range(256))
    assert all(_product(a, _inverse(a)) == 1 for a in range(1, 256))
    assert _product(0x57, 0x83) == 0xC1, "FIPS 197, 4.2"


@st.composite
def sharings(draw: st.DrawFn) -> tuple[bytes, int, dict[int, bytes]]:
    secret = draw(st.binary(min_size=1, max_size=48))
    count = draw(st.integers(2, 8))
    threshold = draw(st.integers(2, count))
    size = (threshold - 1) * len(secret)
    return secret, threshold, split(secret, threshold, count, draw(st.binary(min_size=size, max_size=size)))


@settings(max_examples=40)
@given(sharings())
def test_any_threshold_of_the_shares_gives_the_secret(sharing: tuple[bytes, int, dict[int, bytes]]) -> None:
    secret, threshold, shares = sharing
    for chosen in itertools.islice(itertools.combinations(shares, threshold), 6):
        assert combine({x: shares[x] for x in chosen}) == secret
    assert combine(shares) == secret, "more than enough are taken as well"


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=2, max_size=32), st.integers(2, 5))
def test_shares_are_those_of_an_independent_implementation(secret: bytes, threshold: int) -> None:
    # pyshamir, as HashiCorp's Vault: the share's x is its last byte.
    theirs = pyshamir.split(secret, 5, threshold)
    assert combine({share[-1]: bytes(share[:-1]) for share in theirs[:threshold]}) == secret
    ours = split(secret, threshold, 5, bytes(range(1, 1 + (threshold - 1) * len(secret))))
    handed = [bytearray(data + bytes([x])) for x, data in list(ours.items())[-threshold:]]
    assert bytes(pyshamir.combine(handed)) == secret


def test_fewer_shares_fit_every_secret_alike() -> None:
    # Over all coefficients one share of a byte takes each value once, whatever the secret.
    for secret in (b"\x00", b"\x7f", b"\xff"):
        assert {split(secret, 2, 2, bytes([c]))[1] for c in range(256)} == {bytes([v]) for v in range(256)}


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (2, 256), (0, 0)])
def test_impossible_sharings_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(InvalidInput):
        split(b"x", threshold, count, bytes(max(0, threshold - 1)))


def test_bad_shares_are_refused() -> None:
    for shares in ({}, {0: b"x"}, {256: b"x"}, {1: b"x", 2: b"xy"}):
        with pytest.raises(InvalidInput):
            combine(shares)
    with pytest.raises(InvalidInput):
        split(b"x", 2, 3, b"xy")
