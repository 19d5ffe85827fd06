"""PySyncObj's engine with its defects mended from outside, and nothing of it edited.

The library keeps what it does well: the tick, the start of an election, the
commit rule, check-quorum. Every method below that overrides one of its own
(`_SyncObj__name` is its private `__name`) says which defect it mends; a test
keeps digests of the originals, so that an upgrade forces a review.

One thread calls everything here. Order in a tick: messages and proposals have
been taken in, the library ticks, then one flush makes all changes durable, and
only then messages leave and callers learn outcomes. One exception: a leader
whose term and vote are durable sends before the flush, since it says nothing
of its own copy of an entry before a majority's (Raft dissertation, 10.2.1).
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node

from qkms_node.consensus.application import Application
from qkms_node.consensus.changes import Changes
from qkms_node.consensus.configuration import NOBODY, Configuration
from qkms_node.consensus.core import Core, Report
from qkms_node.consensus.dispatch import Dispatch
from qkms_node.consensus.elections import Elections
from qkms_node.consensus.files import free_bytes
from qkms_node.consensus.following import Following
from qkms_node.consensus.forming import Forming
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.leading import Leading
from qkms_node.consensus.members import node_of
from qkms_node.consensus.messages import Message, TimeoutNow
from qkms_node.consensus.outbox import Network, Outbox
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.proposals import Proposals
from qkms_node.consensus.reads import Reads
from qkms_node.consensus.replica import Role, StateMachine
from qkms_node.consensus.settings import Limits, Timing
from qkms_node.consensus.snapshot_sending import SnapshotSending
from qkms_node.consensus.snapshot_store import SnapshotStore
from qkms_node.consensus.snapshots import Background, Snapshots

LONGEST_WAIT_S = 0.05
_DISK_CHECK_S = 1.0


@dataclass(frozen=True)
class Environment:
    """What the engine takes from the world; a simulation brings its own."""

    network: Network
    background: Background
    report: Report
    rng: random.Random
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    free_bytes: Callable[[Path], int] = free_bytes
    answered: Callable[["Raft"], None] = lambda _: None  # callers may have their answers before the tick ends


class _NothingToPoll:
    """For the library, which polls at the end of its tick: the network is not its own."""

    def poll(self, timeout_s: float) -> None:
        """Nothing is watched: no system call."""


class Raft(SyncObj):  # type: ignore[misc]  # the library is untyped
    """One member's engine. Construction loads what is on disk and raises when it cannot be trusted.

    `members` (id -> host:port) are the voters that found the cluster or, `joining`, whom to wait
    for to be let in; a configuration in the log wins over it.
    """

    def __init__(
        self,
        node_id: str,
        members: Mapping[str, str],
        cluster_id: str,
        journal: DurableJournal,
        store: SnapshotStore,
        machine: StateMachine,
        timing: Timing,
        limits: Limits,
        environment: Environment,
        *,
        joining: bool = False,
    ) -> None:
        first = NOBODY if joining else Configuration(dict(members))
        self.__environment = environment
        self.__outbox = outbox = Outbox(environment.network, self.__translate)
        configuration = SyncObjConf(
            autoTick=False,
            appendEntriesPeriod=timing.heartbeat_s,
            raftMinTimeout=timing.election_timeout_min_s,
            raftMaxTimeout=timing.election_timeout_max_s,
            leaderFallbackTimeout=timing.leader_fallback_s,
            connectionTimeout=timing.election_timeout_max_s,  # unused, but validated against the others
            # True keeps the library from opening a pipe; sending is decided by `Leading`.
            appendEntriesUseBatch=True,
            onStateChanged=self.__state_changed,
        )
        others = [node_of(voter) for voter in first.voters if voter != node_id]
        super().__init__(node_of(node_id), others, configuration, transport=outbox)
        self.core = core = Core(self, journal, outbox, timing, limits, environment.report, environment.rng, first)
        self.elections = Elections(core, journal.newcomer)
        self.proposals = Proposals(core)
        self.reads = Reads(core)
        self.application = Application(core, machine, self.proposals)
        sending = SnapshotSending(core, store)
        self.leading = Leading(core, self.proposals, sending)
        self.changes = Changes(core, self.leading, self.proposals, environment.network.admit, members)
        self.__forming = Forming(core, self.proposals, environment.wall_ms)
        self.following = Following(core, self.elections, journal.newcomer)
        self.snapshots = Snapshots(
            core, store, machine, self.application, self.proposals, sending, environment.background, cluster_id
        )
        self.__dispatch = Dispatch(core, self)
        self.__disk_checked_at = float("-inf")
        self._poller = _NothingToPoll()
        self.__adopt(journal)

    def __adopt(self, journal: DurableJournal) -> None:
        """Puts our journal, and what it remembers, in the place of the library's in-memory one."""
        self._SyncObj__raftLog = journal
        self._SyncObj__raftCurrentTerm = max(journal.getCurrentTerm(), journal[-1][2])
        self._SyncObj__votedForNodeId = journal.getVotedForNodeId()
        self._SyncObj__raftCommitIndex = 1
        self._SyncObj__needLoadDumpFile = False
        # A commit index that was once reached: what follows the snapshot up to it may be applied.
        hint = journal.getRaftCommitIndex()
        self.snapshots.load()
        self.core.members.appended(entry for entry in journal[1:] if entry[1] > self.core.applied_index)
        self.core.commit_to(min(hint, self.core.last_index))
        while self.application.behind:
            self.application.step()
        self.core.postpone_election()

    def tick(self) -> float:
        """One round; returns the seconds until the next one is needed. Whatever it raises is fatal."""
        self.__check_disk()
        self.changes.step()
        counts_alone = self.core.role is Role.LEADER and self.core.members.is_alone
        if (self.core.role is not Role.LEADER or counts_alone) and self.core.journal.awaits_flush:
            # The leader waits for what a follower has taken; applying what is committed can wait for that. The
            # only voter left by a change commits it in this very tick, so its own copy must be durable before.
            self.core.journal.flush()
            self.__outbox.release()
        self.elections.hold()
        self.doTick(0.0)
        self.reads.step()
        self.leading.announce()
        if self.core.role is Role.LEADER and self.core.journal.awaits_only_entries:
            # The followers' disks work while this one does. A leader counts its own copy from the next tick on.
            self.__outbox.release()
        self.core.journal.flush()
        self.__outbox.release()
        self.proposals.expire()
        return self.__next_wait()

    def propose(self, proposal: Proposal) -> None:
        """Takes a proposal of a caller of this node."""
        if proposal.change is None:
            self.proposals.add(proposal)
        else:
            self.changes.propose(proposal, proposal.change)

    def peer_connected(self, peer: str) -> None:
        """A connection to `peer` is up."""
        self._SyncObj__onNodeConnected(node_of(peer))
        self.core.connections_changed()
        self.changes.peer_connected(peer)
        self.leading.peer_changed(peer)

    def peer_disconnected(self, peer: str) -> None:
        """The connection to `peer` is gone, with whatever was under way."""
        self._SyncObj__onNodeDisconnected(node_of(peer))
        self.core.connections_changed()
        self.__outbox.drop(peer)
        self.leading.peer_changed(peer)
        self.proposals.lost(peer)
        self.changes.lost(peer)

    def receive(self, peer: str, message: Message) -> None:
        """Takes one message of an authenticated peer; answers leave with the next tick."""
        self.__dispatch.receive(peer, message)

    def __check_disk(self) -> None:
        now = self.core.now()
        if now - self.__disk_checked_at < _DISK_CHECK_S:
            return
        self.__disk_checked_at = now
        floor = self.core.limits.free_floor_bytes
        full = self.__environment.free_bytes(self.core.journal.folder) < floor
        if full != self.proposals.disk_full:
            self.core.report("consensus.disk_low" if full else "consensus.disk_recovered", floor=floor)
        self.proposals.disk_full = full

    def __next_wait(self) -> float:
        core = self.core
        if self.application.behind:
            return 0.0
        if core.role is Role.LEADER and core.members.is_alone and core.commit_index < core.last_index:
            return 0.0  # alone: what was flushed is committed by the next tick, and no answer will wake us
        timer = core.next_heartbeat() if core.role is Role.LEADER else core.election_deadline
        calls = min(self.proposals.next_deadline(), self.reads.next_deadline())
        due = min(timer, self.leading.next_announcement, calls)
        return min(max(due - core.now(), 0.001), LONGEST_WAIT_S)

    def __translate(self, message: dict[str, Any]) -> Message:
        """The two messages that the library forms itself, as ours."""
        if message["type"] == "request_vote":
            return self.elections.request(message)
        if message["type"] == "timeout_now":
            return TimeoutNow(message["term"])
        raise AssertionError(f"the library must not form {message['type']}")

    def __state_changed(self, old: int, new: int) -> None:
        leader = 2
        if old == leader and new != leader:
            self.core.report("consensus.stopped_leading", term=self.core.term)
            self.leading.end()
            self.reads.stopped_leading()
            self.proposals.stopped_leading()

    # Overridden methods of the library.

    def _SyncObj__onMessageReceived(self, node: Node, message: Message) -> None:  # noqa: N802
        """A, C, D, L, M, N: every message is one of ours, checked for its term, and acted on by its part."""
        self.__dispatch.receive(node.id, message)

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """C: no whole tail re-sent on each mismatch; no pickled `transmission` of large entries (N)."""
        self.leading.heartbeat()

    def _checkCommandsToApply(self) -> None:  # noqa: N802
        """K: proposals coalesce into entries, or go to the leader; each keeps its deadline and its truth."""
        if self.core.role is Role.LEADER:
            if not self.leading.transferring:
                self.__forming.step()
            self.leading.replicate()
        else:
            self.proposals.forward()

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        """O: an exception in apply leaves the tick and stops the node instead of being retried for ever."""
        self.application.step()
        if self.proposals.ended and not self.proposals.any_queued and not self.core.journal.awaits_flush:
            # A majority holds what was applied and nothing waits for this disk: nor need the callers wait.
            self.__environment.answered(self)
        core = self.core
        if core.role is Role.LEADER and core.commit_index >= core.no_op_index:
            core.journal.newcomer.caught_up()
        return False

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """B, H, P: snapshots of our own, durable before the log forgets; no fork, no pickle."""
        self.snapshots.step()

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        """C: each follower is probed before entries are sent. The leader's clock starts at the log's."""
        self.__forming.begin(self.application.time_ms)
        super()._SyncObj__onBecomeLeader()
        self.changes.found()
        self.core.report("consensus.leading", term=self.core.term)
        self.leading.begin()

    def _SyncObj__connectedToAnyone(self) -> bool:  # noqa: N802
        """M: the library begins an election only when a pre-vote approved it."""
        return self.elections.approved

    def _SyncObj__setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: N802
        """L: votes are counted per term and per voter; the counts of an earlier term are void."""
        super()._SyncObj__setCurrentTerm(term, voted_for)
        self.elections.term_changed(voted_for)

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        """Randomness from the environment, so that a simulation replays."""
        configuration = self.conf
        rng = self.__environment.rng
        return rng.uniform(configuration.raftMinTimeout, configuration.raftMaxTimeout)

    def _applyCommand(self, command: Any, callback: Any, commandType: Any = None) -> None:  # noqa: N802, N803
        """E, N: the library's own way in, which pickles and changes membership, is closed."""
        raise NotImplementedError("propose through Proposals")
