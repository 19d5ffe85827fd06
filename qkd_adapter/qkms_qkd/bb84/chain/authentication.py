"""Wegman-Carter authentication with keys that are used once, and the store that these keys come from.

A tag is Poly1305 (Bernstein, FSE 2005; RFC 8439, 2.5) under 32 bytes used for nothing else: a universal hash with
a one-time pad on top, as Wegman and Carter (J. Comput. Syst. Sci. 22, 265, 1981). Whatever an attacker computes,
a tag for other messages of L bytes is accepted with probability at most 8 ceil(L / 16) / 2^106.

The store holds slots, each the keys of one block under a number that is never used again. A block spends its slot
whatever becomes of it. Since the last message of a block may be lost, one party can keep its key, and add slots
from it, while the other does not; so each block begins with both saying which slots they hold (see `opening`), and
what only one of them has is dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkms_qkd.bb84.chain.errors import AuthenticationKeyExhausted

KEY_BYTES = 32
TAG_BYTES = 16
TAGS = 2
"""Per party and block: after sifting, and at the end."""

SLOT_BYTES = 2 * TAGS * KEY_BYTES


@dataclass(frozen=True, slots=True, repr=False)
class BlockKeys:
    """One-time keys of a block: in order of use, Alice's tags and Bob's."""

    alice: tuple[bytes, ...]
    bob: tuple[bytes, ...]


class AuthenticationKeys:
    """Slots of shared secret bytes, at first from `secret` (SLOT_BYTES each), later from the keys of blocks.

    `reserve_slots` is the number that `wanted_slots` aims for: by default what was there at first."""

    def __init__(self, secret: bytes, reserve_slots: int | None = None) -> None:
        self._slots: dict[int, bytes] = {}
        self._next = 0
        self.add(0, secret)
        self._reserve = len(self._slots) if reserve_slots is None else reserve_slots

    def __repr__(self) -> str:
        return f"AuthenticationKeys(left_slots={self.left_slots}, keys=<redacted>)"

    @property
    def left_slots(self) -> int:
        """How many blocks can still be authenticated."""
        return len(self._slots)

    @property
    def wanted_slots(self) -> int:
        """How many should come out of the next key."""
        return max(0, self._reserve - len(self._slots))

    def held(self) -> list[int]:
        """The numbers of the slots, ascending. Raises AuthenticationKeyExhausted if there are none."""
        if not self._slots:
            raise AuthenticationKeyExhausted
        return sorted(self._slots)

    def take(self, slot: int) -> BlockKeys:
        """Takes this slot out for good. Raises KeyError."""
        taken = self._slots.pop(slot)
        keys = [taken[at : at + KEY_BYTES] for at in range(0, SLOT_BYTES, KEY_BYTES)]
        return BlockKeys(alice=tuple(keys[:TAGS]), bob=tuple(keys[TAGS:]))

    def reserve_numbers(self, slots: int) -> int:
        """The first of so many numbers that no slot ever had; they are given to no other."""
        first = self._next
        self._next += slots
        return first

    def add(self, first: int, key: bytes) -> None:
        """Makes slots, numbered from `first`, of secret bytes that nothing else uses; a rest is dropped."""
        for index in range(len(key) // SLOT_BYTES):
            self._slots[first + index] = key[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]
        self._next = max(self._next, first + len(key) // SLOT_BYTES)

    def keep_only(self, slots: Iterable[int]) -> None:
        """Drops what the other party does not hold."""
        shared = set(slots)
        self._slots = {number: key for number, key in self._slots.items() if number in shared}


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
