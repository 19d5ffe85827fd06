"""The constructions once more, from their standards, with hashlib, hmac and integers only.

Shares nothing with the product: neither its code nor the libraries it calls.
Slow and not constant time: for test vectors only. AES-256 (FIPS 197), GCM
(NIST SP 800-38D), HKDF (RFC 5869), X25519 (RFC 7748).
"""

import hashlib
import hmac
import struct

P25519 = 2**255 - 19
GCM_POLYNOMIAL = 0xE1 << 120


def lp(*parts: bytes) -> bytes:
    """Each part after its length in two bytes, big-endian."""
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def number(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return struct.pack(">Q", value)


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256, which is also HKDF-Extract(salt, IKM)."""
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand, RFC 5869, 2.3."""
    output, block, count = b"", b"", 1
    while len(output) < length:
        block = mac(prk, block + info + bytes([count]))
        output += block
        count += 1
    return output[:length]


def sample(text: str, length: int) -> bytes:
    """Made-up bytes that anyone can make again: SHA-256 of the text and a counter."""
    return b"".join(sha256(f"{text}/{i}".encode()) for i in range(length // 32 + 1))[:length]


def x25519(scalar: bytes, u: bytes) -> bytes:
    """RFC 7748, 5: the Montgomery ladder."""
    k = int.from_bytes(scalar, "little") & ~(7 | 1 << 255) | 1 << 254
    x1 = int.from_bytes(u, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb = a * a % P25519, b * b % P25519
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % P25519, x1 * (da - cb) ** 2 % P25519
        x2, z2 = aa * bb % P25519, (aa - bb) * (aa + 121665 * (aa - bb)) % P25519
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, "little")


def _times(a: int, b: int) -> int:
    """Product in AES's field, modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _substitution() -> bytes:
    box = []
    for value in range(256):
        inverse = next((i for i in range(256) if _times(value, i) == 1), 0)
        rotated = [(inverse << n | inverse >> (8 - n)) & 0xFF for n in range(5)]
        box.append(rotated[0] ^ rotated[1] ^ rotated[2] ^ rotated[3] ^ rotated[4] ^ 0x63)
    return bytes(box)


SBOX = _substitution()


def _round_keys(key: bytes) -> list[bytes]:
    words = [key[i : i + 4] for i in range(0, 32, 4)]
    constant = 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _times(constant, 2)
        elif i % 8 == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(word, words[-8], strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def aes256(key: bytes, block: bytes) -> bytes:
    """FIPS 197: one block under a key of 32 bytes."""
    keys = _round_keys(key)
    state = bytes(a ^ b for a, b in zip(block, keys[0], strict=True))
    for turn in range(1, 15):
        state = bytes(SBOX[b] for b in state)
        state = bytes(state[(i + 4 * (i % 4)) % 16] for i in range(16))
        if turn < 14:
            state = b"".join(_mixed(state[i : i + 4]) for i in range(0, 16, 4))
        state = bytes(a ^ b for a, b in zip(state, keys[turn], strict=True))
    return state


def _mixed(column: bytes) -> bytes:
    return bytes(
        _times(column[i], 2) ^ _times(column[(i + 1) % 4], 3) ^ column[(i + 2) % 4] ^ column[(i + 3) % 4]
        for i in range(4)
    )


def gcm_product(x: int, y: int) -> int:
    """SP 800-38D, 6.3: the product of two blocks."""
    z = 0
    for i in range(127, -1, -1):
        z ^= y if x >> i & 1 else 0
        y = y >> 1 ^ (GCM_POLYNOMIAL if y & 1 else 0)
    return z


def blocks(data: bytes) -> list[int]:
    """The blocks of data padded with zeros to whole blocks."""
    return [int.from_bytes(data[i : i + 16].ljust(16, b"\0"), "big") for i in range(0, len(data), 16)]


def ghash_blocks(aad: bytes, ciphertext: bytes) -> list[int]:
    """What GHASH runs over: AAD, ciphertext, and their lengths in bits."""
    return [*blocks(aad), *blocks(ciphertext), len(aad) * 8 << 64 | len(ciphertext) * 8]


def _ghash(h: int, items: list[int]) -> int:
    y = 0
    for item in items:
        y = gcm_product(y ^ item, h)
    return y


def gcm_stream(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """The counter mode of GCM: encrypts and decrypts, checks nothing."""
    stream = b"".join(aes256(key, nonce + struct.pack(">I", i)) for i in range(2, 2 + len(blocks(data))))
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def gcm_tag(key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
    """The tag of a ciphertext."""
    h = int.from_bytes(aes256(key, bytes(16)), "big")
    mask = int.from_bytes(aes256(key, nonce + struct.pack(">I", 1)), "big")
    return (_ghash(h, ghash_blocks(aad, ciphertext)) ^ mask).to_bytes(16, "big")


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """AES-256-GCM: ciphertext and tag."""
    ciphertext = gcm_stream(key, nonce, plaintext)
    return ciphertext + gcm_tag(key, nonce, aad, ciphertext)
