"""The replicated state that a simulation drives: one effect per request id, and a digest of all that was applied.

A command carries a request id and the number of its attempt; a client that
got no answer sends the same request again as a new attempt. The answer names
the index at which the request took effect, whichever attempt it was.
"""

import hashlib
from collections.abc import Callable, Iterable

import msgspec

_encoder = msgspec.msgpack.Encoder()


class Command(msgspec.Struct, frozen=True, array_like=True):
    """`padding` makes it as large as the client likes."""

    request: int
    attempt: int
    padding: bytes = b""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Where the request took effect, first and only."""

    request: int
    index: int


class _State(msgspec.Struct, frozen=True, array_like=True):
    digest: bytes
    time_ms: int
    effects: dict[int, int]


_command = msgspec.msgpack.Decoder(Command)
_answer = msgspec.msgpack.Decoder(Answer)
_state = msgspec.msgpack.Decoder(_State)

Applied = Callable[[int, int, Command], None]  # (index, time_ms, command)


def encode(message: Command | Answer) -> bytes:
    """As it travels."""
    return _encoder.encode(message)


def decode_answer(data: bytes) -> Answer:
    """An answer of `Effects.apply`."""
    return _answer.decode(data)


class Effects:
    """A StateMachine. `applied` is called for each command before it changes anything."""

    def __init__(self, applied: Applied) -> None:
        self._applied = applied
        self.effects: dict[int, int] = {}
        self.digest = b""
        self.time_ms = 0

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        decoded = _command.decode(command)
        self._applied(index, time_ms, decoded)
        self.time_ms = time_ms
        content = b"%d %d " % (index, time_ms) + command
        self.digest = hashlib.blake2b(self.digest + content, digest_size=16).digest()
        effect = self.effects.setdefault(decoded.request, index)
        return encode(Answer(decoded.request, effect))

    def snapshot(self) -> Iterable[bytes]:
        data = _encoder.encode(_State(self.digest, self.time_ms, dict(self.effects)))
        return [data[i : i + 200] for i in range(0, len(data), 200)]

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterable[object]]:
        state = _state.decode(b"".join(chunks))

        def install() -> Iterable[object]:
            self.digest, self.time_ms, self.effects = state.digest, state.time_ms, state.effects
            return ()

        return install
