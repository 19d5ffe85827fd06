"""What Alice and Bob say to each other, as MessagePack with a type in each message.

Bits travel packed, eight per byte, most significant first; integers in arrays little-endian. A receiver checks
each message against what it asked for: `unpacked` and `integers` refuse other lengths. Pure.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.physics.records import Bits
from qkms_qkd.unreadable import UNREADABLE


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Any of the messages below."""


class Slots(Message, frozen=True):
    """Either, first of all: the authentication slots it holds. Alice: `chosen` is this block's."""

    held: list[int]
    chosen: int | None = None


class Detected(Message, frozen=True):
    """Bob: `count` clicks at these positions, in these bases, and his bits in the test basis. `more` follow."""

    count: int
    positions: bytes
    bases: bytes
    test_bits: bytes
    more: bool


class Sifted(Message, frozen=True):
    """Alice: which of them had her basis; of those the intensity, and her bits in the test basis."""

    kept: bytes
    intensities: bytes
    test_bits: bytes


class Parities(Message, frozen=True):
    """Bob: asks for prefix parities of frame `frame`, in the order of pass `number`, at `cuts`."""

    frame: int
    number: int
    cuts: bytes


class Told(Message, frozen=True):
    """Alice: the parities asked for."""

    bits: bytes


class FrameSeed(Message, frozen=True):
    """Alice: the seed of the orders of all passes."""

    seed: bytes


class Corrected(Message, frozen=True):
    """Bob: has no more questions, and flipped so many bits."""

    flipped: int


class Verify(Message, frozen=True):
    """Alice: her key's value at a random point."""

    point: bytes
    value: bytes


class Verified(Message, frozen=True):
    """Bob: whether his key has it too."""

    equal: bool


class Amplify(Message, frozen=True):
    """Alice: the key's length, the bits told of it, the seed of the matrix; and how many authentication slots
    its first bytes make, numbered from `first_slot`."""

    key_bits: int
    leaked_bits: int
    slots: int
    first_slot: int
    seed: bytes


class Tag(Message, frozen=True):
    """Either: the tag of everything sent since the last one."""

    tag: bytes


class Discard(Message, frozen=True):
    """Either: gives the block up."""

    code: str
    reason: str


AnyMessage = (
    Slots
    | Detected
    | Sifted
    | FrameSeed
    | Parities
    | Told
    | Corrected
    | Verify
    | Verified
    | Amplify
    | Tag
    | Discard
)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: Message) -> bytes:
    """The message as bytes."""
    return _ENCODER.encode(message)


def decode(frame: bytes) -> AnyMessage:
    """The message in these bytes. Raises BlockDiscarded."""
    try:
        return _DECODER.decode(frame)
    except UNREADABLE as error:
        raise BlockDiscarded("MESSAGE_MALFORMED", f"an unreadable message arrived ({error})") from None


def packed(bits: Bits | NDArray[np.bool_]) -> bytes:
    """Bits as bytes."""
    return np.packbits(bits).tobytes()


def unpacked(data: bytes, count: int) -> Bits:
    """So many bits. Raises BlockDiscarded."""
    if count < 0 or len(data) != (count + 7) // 8:
        raise BlockDiscarded("MESSAGE_MALFORMED", f"{len(data)} bytes arrived where {count} bits were due")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count)


def integers(data: bytes) -> NDArray[np.int64]:
    """Little-endian 64-bit integers. Raises BlockDiscarded."""
    if len(data) % 8:
        raise BlockDiscarded("MESSAGE_MALFORMED", f"{len(data)} bytes are no whole number of integers")
    return np.frombuffer(data, "<i8").astype(np.int64)
