"""Messages as frames of a byte stream, and back.

A frame is a 4-byte big-endian length, one byte that says what follows, and that:

    VERSION   one message, a msgpack array whose first element names it
    SEALED    a record under a key of a QKD link, which holds frames of the first kind (`sealed_frames`)

Ordering: the first frame of a stream is a Hello. Leaves out who may say what.
"""

from collections.abc import Callable

import msgspec

from qkms_node.consensus.messages import Hello, LinkMessage, Message, Received
from qkms_node.unreadable import UNREADABLE

VERSION = 1
SEALED = 2
RECORD_BYTES = 256 * 1024
"""Frames gather up to this size to be sent together; a sealed frame is as much longer than a plain one may be."""
_PREFIX = 5
_RECORD_OVERHEAD = 64


class FrameRejected(Exception):
    """Bytes that are not a frame of this protocol; the connection that sent them is closed."""

    code = "FRAME_REJECTED"


_encoder = msgspec.msgpack.Encoder()
_hello = msgspec.msgpack.Decoder(Hello)
_message: msgspec.msgpack.Decoder[Message | LinkMessage] = msgspec.msgpack.Decoder(Message | LinkMessage)


def frame(message: Received) -> bytes:
    """One message as a frame."""
    return framed(VERSION, _encoder.encode(message))


def framed(kind: int, body: bytes) -> bytes:
    """A frame that begins with this byte: VERSION or SEALED."""
    return (len(body) + 1).to_bytes(4, "big") + bytes((kind,)) + body


def none_agreed(_: bytes) -> bytes:
    """Opens no sealed frame. Raises FrameRejected."""
    raise FrameRejected("a sealed frame where no key was agreed on")


class FrameReader:
    """Cuts a byte stream into messages. The first frame of a stream must be a Hello.

    `opened` gives the frames in the body of a sealed one; it raises FrameRejected. After a sealed frame no plain
    one is taken, which an attacker who has broken TLS could have put there. With `sealed_only` that holds from the
    Hello on, but for offers.
    """

    def __init__(
        self, max_bytes: int, opened: Callable[[bytes], bytes] = none_agreed, *, sealed_only: bool = False
    ) -> None:
        self._max_bytes = max_bytes
        self._opened = opened
        self._buffer = bytearray()
        self._greeted = self._sealed = False
        self._sealed_only = sealed_only

    def feed(self, data: bytes) -> list[Received]:
        """The messages completed by `data`. Raises FrameRejected."""
        self._buffer += data
        messages: list[Received] = []
        start = 0
        while (end := self._end(self._buffer, start)) is not None:
            kind, body = self._buffer[start + 4], bytes(self._buffer[start + _PREFIX : end])
            start = end
            if kind == SEALED:
                messages += self._unsealed(body)
            else:
                messages.append(self._plain(body))
        del self._buffer[:start]
        return messages

    def _end(self, buffer: bytearray | bytes, start: int) -> int | None:
        """Where the frame at `start` ends; None while it is not all there."""
        if len(buffer) - start < _PREFIX:
            return None
        length, kind = int.from_bytes(buffer[start : start + 4], "big"), buffer[start + 4]
        limit = self._max_bytes + (RECORD_BYTES + _RECORD_OVERHEAD if kind == SEALED else 0)
        if not 1 <= length <= limit:
            raise FrameRejected(f"frame of {length} bytes, allowed are 1 to {limit}")
        if kind not in (VERSION, SEALED):
            raise FrameRejected(f"frame version {kind}, this node speaks {VERSION}")
        end = start + 4 + length
        return end if end <= len(buffer) else None

    def _plain(self, body: bytes) -> Received:
        message = self._decode(body)
        if self._sealed or (self._sealed_only and not isinstance(message, Hello | LinkMessage)):
            raise FrameRejected("a plain frame where only frames under a QKD key are taken")
        return message

    def _unsealed(self, body: bytes) -> list[Received]:
        if not self._greeted:
            raise FrameRejected("a sealed frame before the first, which says who speaks")
        frames = self._opened(body)
        self._sealed = True
        messages: list[Received] = []
        start = 0
        while (end := self._end(frames, start)) is not None:
            if frames[start + 4] != VERSION:
                raise FrameRejected("a sealed frame inside another")
            messages.append(self._decode(frames[start + _PREFIX : end]))
            start = end
        if start != len(frames):
            raise FrameRejected("a sealed frame does not hold whole frames")
        return messages

    def _decode(self, body: bytes) -> Received:
        try:
            if self._greeted:
                return _message.decode(body)
            hello = _hello.decode(body)
        except UNREADABLE as error:
            raise FrameRejected(f"frame of {len(body)} bytes is not a message: {error}") from error
        self._greeted = True
        return hello
