"""How fresh a read must be. The server never degrades the level silently."""

from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from qkms.v1 import common_pb2
from qkms_client.types import Level


@dataclass(frozen=True)
class Consistency:
    """A level with its parameter. Make it with linearizable(), at_least(), bounded() or STALE_OK."""

    level: Level
    revision: int = 0
    max_staleness: timedelta | None = None

    def message(self) -> common_pb2.Consistency:
        """The protocol's message."""
        message = common_pb2.Consistency(
            level=self.level.value,  # type: ignore[arg-type]
            revision=self.revision,
        )
        if self.max_staleness is not None:
            message.max_staleness.CopyFrom(duration(self.max_staleness))
        return message


STALE_OK = Consistency(Level.STALE_OK)
"""Whatever the node has; the answer's header says how old it may be."""


def linearizable() -> Consistency:
    """Sees every write acknowledged before the read began; needs a quorum."""
    return Consistency(Level.LINEARIZABLE)


def at_least(revision: int) -> Consistency:
    """Sees at least the state of `revision`, from an earlier answer's header. Raises ValueError out of bounds."""
    if not 1 <= revision < 2**64:
        raise ValueError("revisions begin at 1 and have at most 64 bits")
    return Consistency(Level.AT_LEAST, revision=revision)


def bounded(max_staleness: timedelta) -> Consistency:
    """Sees a state at most `max_staleness` old. Raises ValueError unless it is positive."""
    if max_staleness <= timedelta(0):
        raise ValueError(f"max_staleness {max_staleness} must be positive")
    return Consistency(Level.BOUNDED, max_staleness=max_staleness)


def duration(value: timedelta) -> Duration:
    """A timedelta as the protocol's Duration."""
    message = Duration()
    message.FromTimedelta(value)
    return message
