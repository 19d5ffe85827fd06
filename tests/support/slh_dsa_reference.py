"""Verification of SLH-DSA-SHA2-128f and -192f once more, from FIPS 205 with hashlib only.

A second opinion on pqcrypto, of which no known answers are at hand. Names are
those of FIPS 205.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """FIPS 205, 11, table 2; all sets here have lg_w = 4, h = 66 and d = 22."""

    n: int
    a: int
    k: int
    m: int
    h: int = 66
    d: int = 22


SHA2_128F = Parameters(n=16, a=6, k=33, m=34)
SHA2_192F = Parameters(n=24, a=8, k=33, m=42)

WOTS_HASH, WOTS_PK, TREE, FORS_TREE, FORS_ROOTS = range(5)


class Address:
    """ADRS, in its compressed form of 22 bytes (11.2)."""

    def __init__(self, layer: int, tree: int) -> None:
        self._prefix = layer.to_bytes(1, "big") + tree.to_bytes(8, "big")

    def of(self, kind: int, one: int = 0, two: int = 0, three: int = 0) -> bytes:
        """With a type and its three words."""
        words = b"".join(word.to_bytes(4, "big") for word in (one, two, three))
        return self._prefix + kind.to_bytes(1, "big") + words


@dataclass(frozen=True)
class Hashes:
    """F, H and T of one public seed."""

    p: Parameters
    seed: bytes

    def f(self, address: bytes, data: bytes) -> bytes:
        """F: always SHA-256."""
        return hashlib.sha256(self.seed + bytes(64 - self.p.n) + address + data).digest()[: self.p.n]

    def t(self, address: bytes, data: bytes) -> bytes:
        """H and T: SHA-256 in category 1, SHA-512 above."""
        if self.p.n == 16:
            return self.f(address, data)
        return hashlib.sha512(self.seed + bytes(128 - self.p.n) + address + data).digest()[: self.p.n]


def base_2b(data: bytes, bits: int, count: int) -> list[int]:
    """Algorithm 4."""
    value, width = int.from_bytes(data, "big"), len(data) * 8
    return [value >> (width - bits * (i + 1)) & ((1 << bits) - 1) for i in range(count)]


def parts(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def climb(
    hashes: Hashes, address: Address, kind: int, one: int, index: int, node: bytes, path: list[bytes]
) -> bytes:
    """From a leaf to the root: the common part of algorithms 11 and 17."""
    for height, sibling in enumerate(path, start=1):
        pair = sibling + node if index & 1 else node + sibling
        index >>= 1
        node = hashes.t(address.of(kind, one, height, index), pair)
    return node


def wots_public(hashes: Hashes, address: Address, pair: int, signature: bytes, message: bytes) -> bytes:
    """Algorithm 8."""
    n = hashes.p.n
    digits = base_2b(message, 4, 2 * n)
    checksum = sum(15 - digit for digit in digits) << 4
    digits += base_2b(checksum.to_bytes(2, "big"), 4, 3)
    tops = []
    for chain, (digit, value) in enumerate(zip(digits, parts(signature, n), strict=True)):
        for step in range(digit, 15):
            value = hashes.f(address.of(WOTS_HASH, pair, chain, step), value)
        tops.append(value)
    return hashes.t(address.of(WOTS_PK, pair), b"".join(tops))


def fors_public(hashes: Hashes, address: Address, pair: int, signature: bytes, digest: bytes) -> bytes:
    """Algorithm 17."""
    p, roots = hashes.p, []
    trees = parts(signature, (1 + p.a) * p.n)
    for number, (index, tree) in enumerate(zip(base_2b(digest, p.a, p.k), trees, strict=True)):
        secret, *path = parts(tree, p.n)
        leaf = (number << p.a) + index
        node = hashes.f(address.of(FORS_TREE, pair, 0, leaf), secret)
        roots.append(climb(hashes, address, FORS_TREE, pair, leaf, node, path))
    return hashes.t(address.of(FORS_ROOTS, pair), b"".join(roots))


def mgf1(name: str, seed: bytes, length: int) -> bytes:
    """RFC 8017, B.2.1."""
    blocks = (hashlib.new(name, seed + i.to_bytes(4, "big")).digest() for i in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def verify(p: Parameters, public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
    """Algorithms 24 and 20: pure SLH-DSA."""
    seed, root, r = public[: p.n], public[p.n :], signature[: p.n]
    message = b"\0" + bytes([len(context)]) + context + message
    name = "sha256" if p.n == 16 else "sha512"
    inner = hashlib.new(name, r + seed + root + message).digest()
    digest = mgf1(name, r + seed + inner, p.m)

    height = p.h // p.d
    md, tree_bytes = (p.k * p.a + 7) // 8, (p.h - height + 7) // 8
    tree = int.from_bytes(digest[md : md + tree_bytes], "big") % (1 << (p.h - height))
    leaf = int.from_bytes(digest[md + tree_bytes :], "big") % (1 << height)

    hashes, fors_bytes = Hashes(p, seed), p.k * (1 + p.a) * p.n
    fors, hypertree = signature[p.n : p.n + fors_bytes], signature[p.n + fors_bytes :]
    node = fors_public(hashes, Address(0, tree), leaf, fors, digest[:md])
    wots_bytes = (2 * p.n + 3) * p.n
    for layer, part in enumerate(parts(hypertree, wots_bytes + height * p.n)):
        address = Address(layer, tree)
        node = wots_public(hashes, address, leaf, part[:wots_bytes], node)
        node = climb(hashes, address, TREE, 0, leaf, node, parts(part[wots_bytes:], p.n))
        leaf, tree = tree % (1 << height), tree >> height
    return node == root
