"""RSA keys from outside: each number that does not belong, and each known weakness, has its own refusal."""

import math
import secrets
from dataclasses import dataclass, replace
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
)

from qkms_node.keys.errors import MaterialRejected
from qkms_node.keys.rsa_soundness import EXPONENT, check_rsa, is_prime

BITS = 3072
HALF = BITS // 2


@dataclass(frozen=True)
class Numbers:
    """The numbers of a private key, to be changed one by one."""

    p: int
    q: int
    d: int
    dmp1: int
    dmq1: int
    iqmp: int
    e: int
    n: int

    def key(self) -> RSAPrivateNumbers:
        public = RSAPublicNumbers(self.e, self.n)
        return RSAPrivateNumbers(self.p, self.q, self.d, self.dmp1, self.dmq1, self.iqmp, public)


def of_factors(p: int, q: int) -> Numbers:
    """All numbers from the factors, prime or not. Raises ValueError where the exponent has no inverse."""
    d = pow(EXPONENT, -1, math.lcm(p - 1, q - 1))
    return Numbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), EXPONENT, p * q)


@cache
def drawn(number: int) -> Numbers:
    key = generate_private_key(EXPONENT, BITS).private_numbers()
    return Numbers(key.p, key.q, key.d, key.dmp1, key.dmq1, key.iqmp, EXPONENT, key.public_numbers.n)


def factor() -> int:
    """An odd number of half the size, both top bits set, so that two make a modulus of full size; hardly prime."""
    return secrets.randbits(HALF) | 3 << (HALF - 2) | 1


def pair(draw_p: object = factor, draw_q: object = factor) -> Numbers:
    while True:
        try:
            return of_factors(draw_p(), draw_q())  # type: ignore[operator]
        except ValueError:
            continue


def refusal(numbers: Numbers, bits: int = BITS) -> str:
    with pytest.raises(MaterialRejected) as refused:
        check_rsa(numbers.key(), bits, secrets.token_bytes)
    return str(refused.value)


def test_a_drawn_key_is_sound_whichever_private_exponent_it_has() -> None:
    key = drawn(0)
    check_rsa(key.key(), BITS, secrets.token_bytes)
    least = key.d % math.lcm(key.p - 1, key.q - 1)
    check_rsa(replace(key, d=least).key(), BITS, secrets.token_bytes)


def test_size_and_exponent_are_those_of_the_key() -> None:
    assert "3072 bits, the key takes 4096" in refusal(drawn(0), 4096)
    assert "exponent" in refusal(replace(drawn(0), e=3))


def test_numbers_of_two_keys_do_not_go_together() -> None:
    one, other = drawn(0), drawn(1)
    assert "two odd halves" in refusal(replace(one, n=other.n))
    assert "two odd halves" in refusal(replace(one, q=other.q))
    assert "two odd halves" in refusal(replace(one, p=one.n, q=1))
    assert "private exponent" in refusal(replace(one, d=other.d))
    for changed in (replace(one, dmp1=other.dmp1), replace(one, dmq1=one.dmp1), replace(one, iqmp=other.iqmp)):
        assert "CRT" in refusal(changed)


def test_factors_that_fermat_finds_are_refused() -> None:
    p = factor()
    near = iter(range(2, 10_000, 2))
    assert "too close" in refusal(pair(lambda: p, lambda: p + next(near)))


def test_a_private_exponent_that_wiener_finds_is_refused() -> None:
    while True:
        common = secrets.randbits(HALF - 5) | 1 << (HALF - 6)
        p, q = 48 * common // 2 * 2 + 1, 32 * common // 2 * 2 + 1
        if p.bit_length() != HALF or q.bit_length() != HALF:
            continue
        try:
            made = of_factors(p, q)
        except ValueError:
            continue
        if made.d.bit_length() <= HALF and made.n.bit_length() == BITS:
            break
    assert "too short" in refusal(made)


def test_the_form_of_infineons_library_is_recognised() -> None:
    product = math.prod(n for n in range(3, 702, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2)))

    def of_the_library() -> int:
        low = pow(EXPONENT, secrets.randbits(64), product)
        found = factor() // product * product + low
        return found if found % 2 else found + product

    assert "CVE-2017-15361" in refusal(pair(of_the_library, of_the_library))


def test_a_factor_that_is_not_prime_is_refused() -> None:
    assert "not prime" in refusal(pair())


def test_primes_pass_and_what_only_looks_prime_does_not() -> None:
    for prime in (5, 7, 65537, 2**127 - 1, drawn(0).p):
        assert is_prime(prime, secrets.token_bytes), prime
    carmichael, strong_to_many_bases = 561, 3825123056546413051
    for composite in (9, 25, carmichael, strong_to_many_bases, (2**127 - 1) * (2**89 - 1)):
        assert not is_prime(composite, secrets.token_bytes), composite
