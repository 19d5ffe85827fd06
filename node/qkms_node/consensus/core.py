"""A typed view of the state that PySyncObj keeps, for the parts of the engine.

Role, term, vote, log, commit index and election deadline live in the
library's object under private names; this is the one file that spells them.
Time is the library's own monotonic clock, looked up at every call, so that a
simulation which replaces it there moves every part.
"""

import random
from collections.abc import Callable
from typing import Any

from pysyncobj import syncobj as library

from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.entries import Entry
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.members import Members, node_of
from qkms_node.consensus.messages import Message
from qkms_node.consensus.outbox import Outbox
from qkms_node.consensus.replica import Role
from qkms_node.consensus.settings import Limits, Timing

Report = Callable[..., None]  # (event, **fields): one structured log line

_ROLES = {0: Role.FOLLOWER, 1: Role.CANDIDATE, 2: Role.LEADER}
_STATES = {role: state for state, role in _ROLES.items()}


class ProtocolBroken(Exception):
    """Something that Raft rules out was seen: two leaders in a term, a committed entry replaced.

    The node must stop before it spreads; its journal tells what happened.
    """

    code = "PROTOCOL_BROKEN"


class Core:
    """Reads and changes the library's state on behalf of one part of the engine."""

    def __init__(
        self,
        engine: Any,
        journal: DurableJournal,
        outbox: Outbox,
        timing: Timing,
        limits: Limits,
        report: Report,
        rng: random.Random,
        first: Configuration,
    ) -> None:
        self._engine = engine
        self.journal = journal
        self.timing = timing
        self.limits = limits
        self.report = report
        self.rng = rng
        self.id: str = engine.selfNode.id
        self.members = Members(engine, self.id, first)
        self._outbox = outbox
        self.connected: frozenset[str] = frozenset()  # ids of the peers with a live connection

    @staticmethod
    def now() -> float:
        """Seconds on the engine's monotonic clock."""
        return float(library.monotonicTime())

    # Peers.

    def connections_changed(self) -> None:
        """A connection came or went."""
        self.connected = frozenset(node.id for node in self._engine._SyncObj__connectedNodes)

    def send(self, peer: str, message: Message) -> None:
        """Queues `message`; it leaves after the tick's flush, if `peer` is connected."""
        self._outbox.put(peer, message)

    def speaks_to(self, peer: str) -> bool:
        """Whether this tick has something for `peer` already."""
        return self._outbox.has(peer)

    def speaks_to_any(self) -> bool:
        """Whether this tick has something for any connected peer already."""
        return any(self._outbox.has(peer) for peer in self.connected)

    # Term and role.

    @property
    def role(self) -> Role:
        return _ROLES[self._engine._SyncObj__raftState]

    @property
    def term(self) -> int:
        return int(self._engine._SyncObj__raftCurrentTerm)

    @property
    def voted_for(self) -> str | None:
        vote: str | None = self._engine._SyncObj__votedForNodeId
        return vote

    @property
    def leader(self) -> str | None:
        """The leader as known here."""
        node = self._engine._SyncObj__raftLeader
        return None if node is None else str(node.id)

    def follow(self, leader: str | None) -> None:
        """Becomes, or stays, a follower of `leader`."""
        self._engine._SyncObj__raftLeader = None if leader is None else node_of(leader)
        self._engine._SyncObj__setState(_STATES[Role.FOLLOWER])

    def set_term(self, term: int, vote: str | None) -> None:
        """Adopts `term` with `vote` in it, durable before anything leaves."""
        self._engine._SyncObj__setCurrentTerm(term, vote)

    @property
    def election_deadline(self) -> float:
        return float(self._engine._SyncObj__raftElectionDeadline)

    def postpone_election(self) -> None:
        """A new random election timeout from now."""
        self._engine._SyncObj__raftElectionDeadline = self.now() + self._engine._SyncObj__generateRaftTimeout()

    def elect_now(self) -> None:
        """Lets the library begin an election at its next tick."""
        self._engine._SyncObj__raftElectionDeadline = 0.0

    def win(self) -> None:
        """Becomes leader of the current term."""
        self._engine._SyncObj__onBecomeLeader()

    # Leadership.

    @property
    def no_op_index(self) -> int:
        """Index of the entry that this node appended when it became leader."""
        return int(self._engine._SyncObj__noopIDx)

    def acknowledged(self, peer: str, match: int) -> None:
        """Tells the library's commit rule and check-quorum what `peer` durably holds."""
        self._engine._SyncObj__raftMatchIndex[node_of(peer)] = match
        self.responded(peer)

    def responded(self, peer: str) -> None:
        """Tells check-quorum that `peer` answered in this term."""
        self._engine._SyncObj__lastResponseTime[node_of(peer)] = self.now()

    def next_heartbeat(self) -> float:
        return float(self._engine._SyncObj__newAppendEntriesTime)

    def heartbeat_sent(self) -> None:
        self._engine._SyncObj__newAppendEntriesTime = self.now() + self.timing.heartbeat_s

    # Log.

    @property
    def last_index(self) -> int:
        return int(self.journal[-1][1])

    @property
    def last_term(self) -> int:
        return int(self.journal[-1][2])

    @property
    def base_index(self) -> int:
        """The index just before the first entry kept."""
        return int(self.journal[0][1])

    def term_at(self, index: int) -> int | None:
        """The term of entry `index`, the base included; None when it is not in the log."""
        position = index - self.base_index
        return int(self.journal[position][2]) if 0 <= position < len(self.journal) else None

    def entries(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        """Entries from `first` to `last`, at least one, as many as fit in `max_bytes`."""
        base = self.base_index
        taken: list[Entry] = []
        size = 0
        for position in range(first - base, min(last - base, len(self.journal) - 1) + 1):
            entry: Entry = self.journal[position]
            size += len(entry[0])
            if taken and size > max_bytes:
                break
            taken.append(entry)
        return taken

    def append(self, fresh: list[Entry]) -> None:
        """Adds entries that follow the last one; a configuration among them is in effect at once."""
        for entry in fresh:
            self.journal.add(*entry)
        self.members.appended(fresh)

    def cut(self, index: int) -> None:
        """Removes the entries from `index` on, and the configurations among them."""
        self.journal.deleteEntriesFrom(index - self.base_index)
        self.members.cut(index)

    def reset(self, index: int, term: int) -> None:
        """Forgets the whole log; it goes on after (`index`, `term`), which a snapshot covers."""
        self.journal.reset(index, term)
        self.members.cut(index + 1)

    @property
    def commit_index(self) -> int:
        return int(self._engine._SyncObj__raftCommitIndex)

    def commit_to(self, index: int) -> None:
        """Advances the commit index; never moves it back."""
        if index > self.commit_index:
            self._engine._SyncObj__raftCommitIndex = index
            self.journal.setRaftCommitIndex(index)

    @property
    def applied_index(self) -> int:
        return int(self._engine._SyncObj__raftLastApplied)

    def applied(self, index: int) -> None:
        self._engine._SyncObj__raftLastApplied = index
