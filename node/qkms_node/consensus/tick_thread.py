"""The one thread that runs a member: engine, network, and the way in for callers.

Each round: what arrived from peers and callers is taken in, the engine ticks
(and flushes before anything leaves), ended calls are handed back, and the
network waits until something happens or is due. Anything raised in a round is
fatal: it is recorded, the calls end, and the thread stops.
"""

import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from qkms_node.consensus.configuration import NOBODY, Configuration
from qkms_node.consensus.core import Report
from qkms_node.consensus.files import DiskFault, lock_folder
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.mesh import Mesh
from qkms_node.consensus.messages import Message
from qkms_node.consensus.peer_keys import PeerKeys
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.raft import Environment, Raft
from qkms_node.consensus.reads import Waiter
from qkms_node.consensus.replica import Role, StateMachine
from qkms_node.consensus.settings import Limits, LinkSealing, Timing, Tls
from qkms_node.consensus.snapshot_store import SnapshotStore
from qkms_node.consensus.snapshots import Pause

WORKER_STOP_S = 5.0
WORK_S = PAUSE_S = 0.0005  # the worker computes for one, then sleeps for the other

T = TypeVar("T")


class WorkAbandoned(Exception):
    """Ends a job of the worker when the member stops; nothing of it was in use."""


@dataclass(frozen=True)
class Member:
    """Everything that makes a member. `members`: id -> host:port, see `SyncObjReplica`."""

    node_id: str
    cluster_id: str
    members: dict[str, str]
    listen: str
    tls: Tls
    data_dir: Path
    machine: StateMachine
    timing: Timing
    limits: Limits
    report: Report
    joining: bool = False
    dial: Mapping[str, str] = field(default_factory=dict)
    keys: PeerKeys | None = None
    sealing: LinkSealing = field(default_factory=LinkSealing)


class View(NamedTuple):
    """What the engine was after its last tick. `fresh_since`: on the engine's clock."""

    role: Role = Role.FOLLOWER
    term: int = 0
    leader_id: str | None = None
    commit_index: int = 0
    applied_index: int = 0
    connected: frozenset[str] = frozenset()
    fresh_since: float | None = None
    configuration: Configuration = NOBODY
    held: Mapping[str, int] = field(default_factory=dict)
    sealed: frozenset[str] = frozenset()


Ended = Callable[[list[Proposal | Waiter]], None]


class TickThread(threading.Thread):
    """`ended` and `stopped` are called on this thread; `started` with the load error, or None."""

    def __init__(
        self,
        member: Member,
        started: Callable[[BaseException | None], None],
        ended: Ended,
        stopped: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__(name=f"qkms-raft-{member.node_id}", daemon=True)
        self._member = member
        self._on_started = started
        self._on_ended = ended
        self._on_stopped = stopped
        self._inbox: deque[Proposal | Waiter | Callable[[Raft], None]] = deque()
        self._mesh: Mesh | None = None
        self._stopping = False
        self._worker = threading.Thread(target=self._work, name="qkms-snapshots", daemon=True)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._rested = 0.0  # when the worker last slept
        self.view = View()

    # From any thread.

    def submit(self, item: Proposal | Waiter | Callable[[Raft], None]) -> None:
        """Takes a call; its end comes through `ended`."""
        self._inbox.append(item)
        self.wake()

    def request_stop(self) -> None:
        """Lets the thread finish its round and end."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """Ends the current wait."""
        mesh = self._mesh
        if mesh is not None:
            mesh.wake()

    # On the thread.

    def run(self) -> None:
        """The life of the member."""
        member = self._member
        lock: int | None = None
        try:
            lock = lock_folder(member.data_dir)
            self._mesh = mesh = Mesh(
                member.node_id,
                member.cluster_id,
                member.tls,
                member.timing,
                member.limits,
                member.report,
                member.dial,
                member.keys,
                member.sealing,
            )
            raft = self._load(mesh)
            mesh.bind(member.listen)
        except BaseException as error:  # handed to the caller of start
            self._release(lock)
            self._on_started(error)
            return
        mesh.attach(_Events(raft))
        self._on_started(None)
        fault = self._live(raft, mesh)
        self._end(raft, fault)
        self._release(lock)
        self._on_stopped(fault)

    def _load(self, mesh: Mesh) -> Raft:
        member = self._member
        journal = DurableJournal(
            member.data_dir / "journal", member.cluster_id, member.node_id, member.limits.segment_bytes
        )
        if journal.torn_bytes:
            member.report("consensus.torn_tail_cut", bytes=journal.torn_bytes)
        store = SnapshotStore(member.data_dir / "snapshots", member.cluster_id)
        rng = random.Random()  # noqa: S311  # only spreads elections in time
        environment = Environment(mesh, self._in_background, member.report, rng, answered=self._answer)
        return Raft(
            member.node_id,
            member.members,
            member.cluster_id,
            journal,
            store,
            member.machine,
            member.timing,
            member.limits,
            environment,
            joining=member.joining,
        )

    def _live(self, raft: Raft, mesh: Mesh) -> BaseException | None:
        try:
            while not self._stopping:
                self._take_calls(raft)
                wait = raft.tick()
                self._answer(raft)
                mesh.poll(wait)
        except Exception as error:  # every fault stops the node, none is retried
            code = getattr(error, "code", type(error).__name__)
            self._member.report("consensus.fatal", code=code, problem=str(error), exc_info=error)
            return error
        return None

    def _take_calls(self, raft: Raft) -> None:
        for _ in range(len(self._inbox)):
            item = self._inbox.popleft()
            if isinstance(item, Proposal):
                raft.propose(item)
            elif isinstance(item, Waiter):
                raft.reads.add(item)
            else:
                item(raft)

    def _answer(self, raft: Raft) -> None:
        self._publish(raft)  # first: whoever gets an answer finds it in the status
        self._give_back(raft)

    def _give_back(self, raft: Raft) -> None:
        if raft.proposals.ended or raft.reads.ended:
            ended: list[Proposal | Waiter] = [*raft.proposals.ended, *raft.reads.ended]
            raft.proposals.ended.clear()
            raft.reads.ended.clear()
            self._on_ended(ended)

    def _publish(self, raft: Raft) -> None:
        core = raft.core
        self.view = View(
            core.role,
            core.term,
            core.leader,
            core.commit_index,
            core.applied_index,
            core.connected,
            raft.reads.fresh_since,
            core.members.configuration,
            raft.leading.held(),
            self._mesh.sealed_peers if self._mesh is not None else frozenset(),
        )

    def _end(self, raft: Raft, fault: BaseException | None) -> None:
        self._take_calls(raft)
        raft.proposals.end_all()
        raft.reads.end_all()
        if fault is None:
            with suppress(DiskFault):  # what is not flushed was never acknowledged
                raft.core.journal.flush()
        if self._worker.is_alive():
            self._jobs.put(None)
            self._worker.join(WORKER_STOP_S)
        raft.destroy()
        self._give_back(raft)

    def _release(self, lock: int | None) -> None:
        mesh, self._mesh = self._mesh, None
        if mesh is not None:
            mesh.close()
        if lock is not None:
            os.close(lock)

    def _in_background(self, work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
        def job() -> None:
            result: T | BaseException
            try:
                result = work(self._pause)
            except Exception as error:  # raised again on the engine's thread
                result = error
            self.submit(lambda _: done(result))

        if not self._worker.is_alive():
            self._worker.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _pause(self) -> None:
        if self._stopping:
            raise WorkAbandoned("the member stops")
        if time.monotonic() - self._rested >= WORK_S:
            time.sleep(PAUSE_S)
            self._rested = time.monotonic()


class _Events:
    """From the network to the engine."""

    def __init__(self, raft: Raft) -> None:
        self._raft = raft

    def on_connected(self, peer: str) -> None:
        self._raft.peer_connected(peer)

    def on_disconnected(self, peer: str) -> None:
        self._raft.peer_disconnected(peer)

    def on_message(self, peer: str, message: Message) -> None:
        self._raft.receive(peer, message)
