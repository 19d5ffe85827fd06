"""Whether RSA numbers from outside make a sound key: NIST SP 800-56B Rev. 2, 6.4.1.2 (all numbers are there).

| check | source |
|---|---|
| n has the size asked for, e = 65537 | |
| p and q have half of it each, n = p q | FIPS 186-5, A.1.1 |
| p and q differ in their first 100 bits (else Fermat factors n) | FIPS 186-5, A.1.1 |
| d inverts e, and is longer than half of n (else Wiener finds it) | FIPS 186-5, A.1.1 |
| dP, dQ and qInv belong to d, p, q (else a signature gives a factor away) | RFC 8017, 3.2 |
| n has not the form of Infineon's library (CVE-2017-15361) | Nemec et al., CCS 2017 |
| p and q are prime: Miller-Rabin, random bases | FIPS 186-5, B.3.1 |

The library checks most of this when it loads a key, but in one piece that holds up
every thread for its time. Here the longest piece is one exponentiation, 15 ms
at 4096 bits, so a thread does it beside a node that serves. Not constant time:
once for each import, with random bases.
"""

import math

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers

from qkms_node.keys.errors import MaterialRejected
from qkms_node.keys.scheme import RandomBytes

EXPONENT = 65537
ROUNDS = 32
"""Of Miller-Rabin: whoever made a composite pass on purpose succeeds with 2^-64, and harms a key of their own."""
_DIFFERING_BITS = 100
_INFINEON_BOUND = 702
"""Infineon's primes are powers of 65537 modulo each prime up to 701, at 2048 bits and more."""


def check_rsa(numbers: RSAPrivateNumbers, bits: int, random: RandomBytes) -> None:
    """Raises MaterialRejected unless `numbers` are a sound key whose modulus has `bits` bits."""
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    if n.bit_length() != bits:
        raise MaterialRejected(f"its RSA modulus has {n.bit_length()} bits, the key takes {bits}")
    if e != EXPONENT:
        raise MaterialRejected(f"its public exponent is not {EXPONENT}")
    _check_factors(numbers.p, numbers.q, n, bits)
    _check_exponents(numbers, bits)
    if _of_infineon(n):
        raise MaterialRejected("its modulus has the form of a library whose keys can be factored (CVE-2017-15361)")
    for factor in (numbers.p, numbers.q):
        if not is_prime(factor, random):
            raise MaterialRejected("one of its RSA factors is not prime")


def is_prime(number: int, random: RandomBytes) -> bool:
    """Whether an odd number above 3 passes Miller-Rabin."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(ROUNDS):
        # Eight bytes more than the number has: as good as uniform.
        base = 2 + int.from_bytes(random(number.bit_length() // 8 + 8), "big") % (number - 3)
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _check_factors(p: int, q: int, n: int, bits: int) -> None:
    if p * q != n or not p.bit_length() == q.bit_length() == bits // 2 or not p & q & 1:
        raise MaterialRejected("its RSA factors are not two odd halves of the modulus: damaged, or of two keys")
    if abs(p - q).bit_length() <= bits // 2 - _DIFFERING_BITS:
        raise MaterialRejected("its RSA factors are too close to each other: the modulus can be factored")


def _check_exponents(numbers: RSAPrivateNumbers, bits: int) -> None:
    p, q, d = numbers.p, numbers.q, numbers.d
    order = math.lcm(p - 1, q - 1)
    if d * EXPONENT % order != 1:
        raise MaterialRejected("its private exponent does not belong to its public key: damaged, or of two keys")
    if (d % order).bit_length() <= bits // 2:
        raise MaterialRejected("its private exponent is too short: it can be found from the public key")
    if (numbers.dmp1, numbers.dmq1) != (d % (p - 1), d % (q - 1)) or numbers.iqmp * q % p != 1:
        raise MaterialRejected("its RSA-CRT numbers do not belong to its factors: damaged, or of two keys")


def _of_infineon(n: int) -> bool:
    return all(n % prime in _powers(prime) for prime in _odd_primes(_INFINEON_BOUND))


def _powers(prime: int) -> set[int]:
    found, power = {1}, EXPONENT % prime
    while power not in found:
        found.add(power)
        power = power * EXPONENT % prime
    return found


def _odd_primes(bound: int) -> list[int]:
    return [n for n in range(3, bound, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2))]
