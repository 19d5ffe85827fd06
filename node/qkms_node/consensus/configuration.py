"""Who takes part in a cluster: voters and learners, and how that changed along the log. Pure.

A configuration takes effect where it is appended, not where it is committed
(Raft dissertation, chapter 4): a member always acts on the newest one in its
log, and goes back to the one before when that entry is cut away. A learner
gets the log and applies it, but neither votes nor counts.
"""

from collections.abc import Collection
from typing import Annotated

import msgspec

MemberId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
Address = Annotated[str, msgspec.Meta(min_length=3, max_length=300)]
Members = dict[MemberId, Address]


class Configuration(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`voters` and `learners`: id -> the host:port that peers dial. Nobody is both."""

    voters: Members = {}
    learners: Members = {}

    @property
    def members(self) -> Members:
        """Voters and learners."""
        return {**self.voters, **self.learners}

    def has(self, member: str) -> bool:
        """Whether it takes part."""
        return member in self.voters or member in self.learners

    def is_quorum(self, ids: Collection[str]) -> bool:
        """Whether the voters among `ids` are more than half of all."""
        return sum(voter in ids for voter in self.voters) * 2 > len(self.voters)


NOBODY = Configuration()


class Placed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A configuration and the log entry that brought it; index 0 for the operator's list."""

    index: int
    term: int
    configuration: Configuration

    def is_newer_than(self, other: "Placed") -> bool:
        """Newer by Raft's order of log entries."""
        return (self.term, self.index) > (other.term, other.index)


class ConfigurationLog:
    """The configurations of a log, oldest first; the last one is in effect.

    `version` grows with every change, so that what depends on them can tell.
    """

    def __init__(self, first: Configuration) -> None:
        self._placed = [Placed(0, 0, first)]
        self.version = 0

    @property
    def newest(self) -> Placed:
        """The one in effect."""
        return self._placed[-1]

    def at(self, index: int) -> Placed:
        """The one that a log ending at `index` has in effect."""
        return next((p for p in reversed(self._placed) if p.index <= index), self._placed[0])

    def members_since(self, index: int) -> Members:
        """Everybody who takes part in the configuration at `index` or in a later one."""
        oldest = self.at(index).index
        return {m: a for p in self._placed if p.index >= oldest for m, a in p.configuration.members.items()}

    def append(self, placed: Placed) -> None:
        """An entry with a configuration joined the log."""
        self._placed.append(placed)
        self.version += 1

    def cut(self, index: int) -> None:
        """The entries from `index` on left the log."""
        kept = [p for p in self._placed if p.index < index]
        if len(kept) < len(self._placed):
            self._placed = kept
            self.version += 1

    def cover(self, index: int, placed: Placed) -> None:
        """A snapshot of everything up to `index` says that `placed` is in effect there."""
        self._placed = [placed, *(p for p in self._placed if p.index > index)]
        self.version += 1

    def forget(self, index: int) -> None:
        """What a log ending at `index` no longer has in effect is not needed any more."""
        oldest = self.at(index).index
        self._placed = [p for p in self._placed if p.index >= oldest]
