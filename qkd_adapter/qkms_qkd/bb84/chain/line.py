"""The authenticated classical line between the two parties, over any transport of frames.

Every message is covered by a tag: frames gather in a running tag for each direction, and `confirm` exchanges and
checks the tags of all since the last one; after the last keys nothing more can be said. Bob's tag goes first:
Alice tags nothing that was drawn out of her by a forger. A forged, added or
reordered frame is therefore found at the next `confirm` at the latest, and nothing is done with a block's key
before its last. Frames of both directions have keys of their own, so none can be reflected. Pure but for the
transport, which a caller brings: that it may stall, and for how long to wait then, is the transport's to say.
"""

import hmac
from collections.abc import Sequence
from typing import Protocol, TypeVar

from qkms_qkd.bb84.chain.authentication import RunningTag
from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.chain.messages import Discard, Message, Tag, decode, encode

_Form = TypeVar("_Form", bound=Message)
_Other = TypeVar("_Other", bound=Message)


class Wire(Protocol):
    """Carries frames to the other party in order; nothing about it is trusted."""

    async def send(self, frame: bytes) -> None:
        """Hands a frame over."""

    async def receive(self) -> bytes:
        """The next frame; waits for it."""


class Line:
    """One block's conversation, seen from one party; the keys are one-time keys in order of use."""

    def __init__(
        self,
        wire: Wire,
        own_keys: Sequence[bytes],
        peer_keys: Sequence[bytes],
        said: bytes,
        heard: bytes,
        tags_first: bool,
    ) -> None:
        """`said` and `heard` are the frames exchanged before the keys were agreed on; the first tag covers them.
        `tags_first` is Bob."""
        self._tags_first = tags_first
        self._wire = wire
        own, *self._own_left = (RunningTag(key) for key in own_keys)
        peer, *self._peer_left = (RunningTag(key) for key in peer_keys)
        self._own, self._peer = own, peer
        self._own.add(said)
        self._peer.add(heard)
        self.sent_bytes = 0
        self.sent_frames = 0

    async def send(self, message: Message) -> None:
        """Sends a message under the next tag."""
        frame = encode(message)
        self._own.add(frame)
        await self._put(frame)

    async def receive(self, form: type[_Form]) -> _Form:
        """The next message, which must have this form. Raises BlockDiscarded."""
        return await self._receive((form,))

    async def receive_either(self, one: type[_Form], other: type[_Other]) -> _Form | _Other:
        """The next message, which must have one of two forms. Raises BlockDiscarded."""
        return await self._receive((one, other))

    async def confirm(self) -> None:
        """Exchanges tags over everything since the last confirm. Raises BlockDiscarded if they do not fit."""
        if self._tags_first:
            await self._put(encode(Tag(self._own.tag())))
        due = self._peer.tag()
        received = checked(await self._wire.receive(), (Tag,)).tag
        if not hmac.compare_digest(due, received):
            raise BlockDiscarded("MESSAGE_FORGED", "what arrived is not what the other party sent")
        if not self._tags_first:
            await self._put(encode(Tag(self._own.tag())))
        if self._own_left:
            self._own, self._peer = self._own_left.pop(0), self._peer_left.pop(0)

    async def _receive(self, forms: tuple[type[_Form], ...]) -> _Form:
        frame = await self._wire.receive()
        message = checked(frame, forms)
        self._peer.add(frame)
        return message

    async def _put(self, frame: bytes) -> None:
        self.sent_bytes += len(frame)
        self.sent_frames += 1
        await self._wire.send(frame)


async def discard(wire: Wire, reason: BlockDiscarded) -> None:
    """Tells the other party, without a tag: whoever could forge this could as well cut the line."""
    await wire.send(encode(Discard(reason.code, reason.message)))


def checked(frame: bytes, forms: tuple[type[_Form], ...]) -> _Form:
    """The message in the frame, which must have one of these forms. Raises BlockDiscarded."""
    message = decode(frame)
    if isinstance(message, Discard):
        raise BlockDiscarded("PEER_DISCARDED", f"the other party gave the block up: {message.reason[:200]}")
    if not isinstance(message, forms):
        wanted = " or ".join(form.__name__ for form in forms)
        raise BlockDiscarded("MESSAGE_MALFORMED", f"{type(message).__name__} arrived where {wanted} was due")
    return message
