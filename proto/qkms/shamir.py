"""Shamir's secret sharing over GF(2^8), byte by byte (Shamir 1979), with the field of AES (FIPS 197, 4.2).

    share at x = (f_1(x), f_2(x), ...)   f_i of degree k - 1, f_i(0) = byte i of the secret

Any k shares give the secret, fewer say nothing of it. Shares of different
secrets combine to noise, without an error: what is shared carries its own check
(`qkms.recovery`). The randomness is an argument.

Products use masks instead of tables: an index that depends on a secret shows in
the cache. Python promises no constant time all the same.
"""

from collections.abc import Mapping

from qkms.errors import InvalidInput

MAX_SHARES = 255
_POLYNOMIAL = 0x1B


def split(secret: bytes, threshold: int, count: int, coefficients: bytes) -> dict[int, bytes]:
    """`count` shares by their x (1 to `count`), each as long as `secret`; any `threshold` give it back.

    `coefficients`: (threshold - 1) * len(secret) fresh random bytes. Raises InvalidInput
    unless 2 <= threshold <= count <= 255, and for another number of coefficients.
    """
    if not 2 <= threshold <= count <= MAX_SHARES:
        raise InvalidInput(f"{threshold} of {count}: it must be at least 2 of at most {MAX_SHARES}")
    size = len(secret)
    if len(coefficients) != (threshold - 1) * size:
        raise InvalidInput(f"{len(coefficients)} bytes of coefficients, not {(threshold - 1) * size}")
    rows = [coefficients[i * size : (i + 1) * size] for i in range(threshold - 1)]
    return {
        x: bytes(_evaluate(secret[i], [row[i] for row in rows], x) for i in range(size))
        for x in range(1, count + 1)
    }


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret of shares by their x, by interpolation at 0; noise unless they belong together.

    Raises InvalidInput for no shares, an x outside 1 to 255 or shares of different length.
    """
    if not shares or any(not 1 <= x <= MAX_SHARES for x in shares):
        raise InvalidInput("shares have an x of 1 to 255, and there is at least one")
    [size, *others] = {len(share) for share in shares.values()}
    if others:
        raise InvalidInput("the shares have different lengths")
    weights = {x: _weight(x, [other for other in shares if other != x]) for x in shares}
    secret = bytearray(size)
    for x, share in shares.items():
        for i in range(size):
            secret[i] ^= _product(weights[x], share[i])
    return bytes(secret)


def _evaluate(constant: int, rest: list[int], x: int) -> int:
    value = 0
    for coefficient in reversed(rest):
        value = _product(value, x) ^ coefficient
    return _product(value, x) ^ constant


def _weight(x: int, others: list[int]) -> int:
    """The Lagrange coefficient of x at 0. Shares' places are public."""
    weight = 1
    for other in others:
        weight = _product(weight, _product(other, _inverse(other ^ x)))
    return weight


def _product(a: int, b: int) -> int:
    result = 0
    for bit in range(8):
        result ^= -(b >> bit & 1) & a
        a = (a << 1 & 0xFF) ^ (-(a >> 7) & _POLYNOMIAL)
    return result


def _inverse(a: int) -> int:
    """a^254, which is 1 / a for a != 0."""
    result, power = 1, a
    for _ in range(7):
        power = _product(power, power)
        result = _product(result, power)
    return result
