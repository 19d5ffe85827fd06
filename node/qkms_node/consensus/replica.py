"""What the rest of the node sees of consensus: propose, read barrier, status.

Only names and promises; the engine behind them (PySyncObj, mended) can be
replaced without a change outside this package. A proposal that ends in
NotCommitted or NoQuorum is certainly without effect and will stay so; one
that ends in OutcomeUnknown may take effect now, later or never.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.configuration import Configuration


class Role(enum.Enum):
    """What this node is in its current term."""

    FOLLOWER = 1
    CANDIDATE = 2
    LEADER = 3


@dataclass(frozen=True)
class ReplicaStatus:
    """A view of consensus at one moment, by this node alone.

    `staleness_s`: seconds since the start of the last read barrier that this
    node completed and applied; None before the first. `connected`: ids of the
    other members with a live, authenticated connection. `configuration`: who
    takes part by this node's log, committed or not. `held`: on a leader, the
    last log index that each other member durably holds; elsewhere empty. `sealed`: ids of the
    other members to and from whom all traffic is under QKD keys, inside TLS.
    """

    role: Role
    term: int
    leader_id: str | None
    commit_index: int
    applied_index: int
    staleness_s: float | None
    connected: frozenset[str]
    configuration: Configuration
    held: Mapping[str, int] = field(default_factory=dict)
    sealed: frozenset[str] = frozenset()


class ConsensusError(Exception):
    """Base of the ways in which a proposal or a barrier can end without an answer."""

    code = "CONSENSUS"


class NotCommitted(ConsensusError):
    """The proposal certainly had no effect and never will: it may be proposed again."""

    code = "NOT_COMMITTED"


class ChangeRefused(NotCommitted):
    """The membership change is not one that this cluster may make; the message says why and what to do."""

    code = "CHANGE_REFUSED"


class OutcomeUnknown(ConsensusError):
    """The proposal may have taken effect or may do so later: only repeating it idempotently tells."""

    code = "OUTCOME_UNKNOWN"


class NoQuorum(ConsensusError):
    """No majority could be reached in time. Nothing was written."""

    code = "NO_QUORUM"


Install = Callable[[], Iterable[object]]


class StateMachine(Protocol):
    """The replicated state. One thread calls `apply`, `snapshot` and what `restore` returns, one at a time."""

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        """Applies one committed command and returns its answer.

        Called in log order, once per command of the log in the life of this
        object. Several commands can share an entry and so an `index`.
        `time_ms` (Unix epoch) is the leader's stamp and never goes backwards.
        Never raises for a refusal: an exception stops the node.
        """
        ...

    def snapshot(self) -> Iterable[bytes]:
        """The state at the moment of this call, in chunks; read by another thread while commands are applied."""
        ...

    def restore(self, chunks: Iterable[bytes]) -> Install:
        """Makes a state of what `snapshot` gave, in the same chunks, and changes nothing; on any thread.

        What is returned puts it in the place of the present state, at once, and gives what that one has left
        to free: iterated over on another thread, it is freed bit by bit.
        """
        ...


class Replica(Protocol):
    """One member of the replicated log, used from an event loop."""

    async def start(self) -> None:
        """Loads what is on disk, binds the listener and runs. Raises OSError or a load error."""
        ...

    async def stop(self) -> None:
        """Stops within a bounded time; waiting calls end with an error."""
        ...

    async def wait_fatal(self) -> BaseException:
        """Returns the fault when the engine stopped itself: the node must exit."""
        ...

    async def propose(self, command: bytes, timeout_s: float) -> bytes:
        """`apply`'s answer to `command`, once committed and applied on this node.

        Works on every member: followers forward to the leader. Ends within
        `timeout_s`. Raises NotCommitted, NoQuorum (both: certainly without
        effect) or OutcomeUnknown.
        """
        ...

    async def read_barrier(self, timeout_s: float) -> int:
        """An applied index that covers every write acknowledged, anywhere, before this call.

        Ends within `timeout_s`. Raises NoQuorum.
        """
        ...

    async def change_members(self, change: Change, timeout_s: float) -> Configuration:
        """The configuration once the change is committed and applied on this node.

        Works on every member, for one change at a time; one that already holds is granted
        again. Raises ChangeRefused (never as things are), NotCommitted (not now; both without
        effect), NoQuorum or OutcomeUnknown.
        """
        ...

    async def transfer_leadership(self, target: str | None, timeout_s: float) -> bool:
        """As the leader: lets `target`, or the most complete voter, lead; True when this node no longer does."""
        ...

    def status(self) -> ReplicaStatus:
        """The state of consensus as this node sees it; never blocks."""
        ...
