"""Wegman-Carter authentication with keys that are used once, and the store that these keys come from.

A tag is Poly1305 (Bernstein, FSE 2005; RFC 8439, 2.5) under 32 bytes used for nothing else: a universal hash with
a one-time pad on top, as Wegman and Carter (J. Comput. Syst. Sci. 22, 265, 1981). Whatever an attacker computes,
a tag for other messages of L bytes is accepted with probability at most 8 ceil(L / 16) / 2^106. Both parties take
the same bytes in the same order: all of a block at its beginning, used or not, so that a block that breaks off
somewhere leaves them in step. Left out: agreement if one party keeps a block's key and the other does not.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkms_qkd.bb84.chain.errors import AuthenticationKeyExhausted

KEY_BYTES = 32
TAG_BYTES = 16


@dataclass(frozen=True, slots=True, repr=False)
class BlockKeys:
    """One-time keys of a block: in order of use, Alice's tags and Bob's."""

    alice: tuple[bytes, ...]
    bob: tuple[bytes, ...]


class AuthenticationKeys:
    """Shared secret bytes, first from `secret`, then from the keys that blocks give.

    `reserve_bytes` is the fill level that `wanted_bytes` aims for: by default what was there at first."""

    def __init__(self, secret: bytes, reserve_bytes: int | None = None) -> None:
        self._bytes = bytearray(secret)
        self._reserve = len(secret) if reserve_bytes is None else reserve_bytes

    def __repr__(self) -> str:
        return f"AuthenticationKeys(bytes=<redacted>, left_bytes={self.left_bytes})"

    @property
    def left_bytes(self) -> int:
        """How much is left."""
        return len(self._bytes)

    @property
    def wanted_bytes(self) -> int:
        """How much of the next key belongs here."""
        return max(0, self._reserve - len(self._bytes))

    def block(self, tags: int) -> BlockKeys:
        """Takes the keys of a block in which each party sends so many tags. Raises AuthenticationKeyExhausted,
        and then takes nothing."""
        needed = 2 * tags * KEY_BYTES
        if needed > len(self._bytes):
            raise AuthenticationKeyExhausted(needed, len(self._bytes))
        taken = bytes(self._bytes[:needed])
        del self._bytes[:needed]
        keys = [taken[at : at + KEY_BYTES] for at in range(0, needed, KEY_BYTES)]
        return BlockKeys(alice=tuple(keys[:tags]), bob=tuple(keys[tags:]))

    def replenish(self, key: bytes) -> None:
        """Puts secret bytes in that nothing else uses."""
        self._bytes += key


class RunningTag:
    """The tag of a sequence of frames, taken as they come; lengths are part of what is hashed."""

    def __init__(self, key: bytes) -> None:
        self._mac = Poly1305(key)

    def add(self, frame: bytes) -> None:
        """The next frame."""
        self._mac.update(len(frame).to_bytes(8, "big"))
        self._mac.update(frame)

    def tag(self) -> bytes:
        """The tag (16 bytes). Nothing may be added after it."""
        return self._mac.finalize()
