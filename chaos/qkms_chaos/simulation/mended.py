"""A simulated node with the real engine: Raft, DurableJournal, SnapshotStore and the codec of qkms_node.

Only clock, network, disk and threads are simulated. Snapshots are written and
restored at a later moment, as by the real background thread, and handed over
later still; what is under way dies with the process.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from qkms_chaos.simulation.node import Ended, Node, OnBarrier, OnChanged, OnEnded
from qkms_chaos.simulation.operators import address
from qkms_chaos.simulation.oracles import LogEntry
from qkms_chaos.simulation.state import Command, decode_answer, encode
from qkms_chaos.simulation.system_calls import path_on
from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.files import DiskFault
from qkms_node.consensus.frames import FrameReader, frame
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.messages import Hello, KeyAnswer, KeyOffer, Message
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.raft import Environment, Raft
from qkms_node.consensus.reads import Waiter
from qkms_node.consensus.replica import Role
from qkms_node.consensus.settings import Timing
from qkms_node.consensus.snapshot_store import SnapshotStore
from qkms_node.consensus.snapshots import Pause

T = TypeVar("T")
CLUSTER = "simulated"
TIMING = Timing(election_timeout_min_s=0.2, election_timeout_max_s=0.5, heartbeat_s=0.05, leader_fallback_s=0.4)


class MendedNode(Node):
    """One member of qkms's own consensus."""

    _raft: Raft
    _readers: dict[int, FrameReader]
    _admitted: frozenset[str] = frozenset()
    _met_full_disk: BaseException | None = None  # what work of the background raised on one

    def load(self) -> None:
        root = path_on(self.world.calls, self.name)
        limits = self.world.limits
        self._journal = DurableJournal(root / "journal", CLUSTER, self.name, limits.segment_bytes)
        store = SnapshotStore(root / "snapshots", CLUSTER)
        self._readers = {}
        self._rng = random.Random(f"{self.world.seed} {self.name} {self.run}")  # noqa: S311
        environment = Environment(
            network=self,
            background=self._in_background,
            report=self._report,
            rng=self._rng,
            wall_ms=self.clock.wall_ms,
            free_bytes=lambda _: self.disk.free_bytes(),
            answered=lambda _: self._hand_back(),
        )
        self._admitted = frozenset()
        self._raft = Raft(
            self.name,
            {name: address(name) for name in (self.world.names if self.joining else self.world.founders)},
            CLUSTER,
            self._journal,
            store,
            self.machine,
            TIMING,
            limits,
            environment,
            joining=self.joining,
        )

    def discard(self) -> None:
        """Nothing outlives the engine."""

    def tick(self) -> float:
        wait = self._raft.tick()
        self._hand_back()
        return wait

    def fell(self, error: Exception) -> None:
        full = self.disk.capacity is not None or error is self._met_full_disk
        if isinstance(error, DiskFault | OSError) and full:
            self.kill(f"stopped: {error}")
            if error is self._met_full_disk:  # maybe only after the space was back
                self.world.agenda.after(0.5, self.start)
            return
        self.world.oracles.breach("a node never stops by itself", f"{self.name}: {type(error).__name__}: {error}")
        self.kill(f"{type(error).__name__}: {error}")

    # Clients.

    def propose(self, command: Command, timeout_s: float, ended: OnEnded) -> None:
        deadline = self.clock.now() + timeout_s * self.clock.rate
        self.post(lambda: self._raft.proposals.add(Proposal(encode(command), deadline, ended)))

    def barrier(self, timeout_s: float, ended: OnBarrier) -> None:
        deadline = self.clock.now() + timeout_s * self.clock.rate
        self.post(lambda: self._raft.reads.add(Waiter(deadline, ended)))

    def change_members(self, change: Change, timeout_s: float, ended: OnChanged) -> None:
        deadline = self.clock.now() + timeout_s * self.clock.rate
        self.post(lambda: self._raft.propose(Proposal(b"", deadline, ended, change)))

    def transfer_leadership(self, timeout_s: float) -> None:
        deadline = self.clock.now() + timeout_s * self.clock.rate
        self.post(lambda: self._raft.leading.transfer(None, deadline))

    def _hand_back(self) -> None:
        proposals, waiters = self._raft.proposals.ended[:], self._raft.reads.ended[:]
        self._raft.proposals.ended.clear()
        self._raft.reads.ended.clear()
        for proposal in proposals:
            ended: Any = proposal.ticket
            result = proposal.result
            if proposal.change is not None:
                self.world.say("operator", f"{proposal.change.kind} {proposal.change.member}", str(result))
                ended(isinstance(result, bytes))
            elif isinstance(result, bytes):
                ended(Ended(decode_answer(result).index, False, ""))
            else:
                code = getattr(result, "code", "")
                ended(Ended(None, code in ("NOT_COMMITTED", "NO_QUORUM"), f"{code}: {result}"))
        for waiter in waiters:
            ended = waiter.ticket
            ended(waiter.result if isinstance(waiter.result, int) else None)

    # Network.

    def send(self, peer: str, messages: list[Message]) -> None:
        """As the engine's Network."""
        for message in messages:
            self.world.network.send(self.name, peer, frame(message))

    def admit(self, members: Mapping[str, str]) -> None:
        """As the engine's Network."""
        self._admitted = frozenset(members)
        for peer in self.world.names:
            if peer != self.name and peer not in self._admitted:
                self.world.network.drop(self.name, peer, silently=False)

    def admits(self, peer: str) -> bool:
        return peer in self._admitted

    def flush(self) -> None:
        """As the engine's Network: what was sent has left."""

    def peer_opened(self, peer: str, connection: int) -> None:
        reader = self._readers[connection] = FrameReader(self.world.limits.frame_bytes)
        reader.feed(frame(Hello(CLUSTER, peer, self.name)))
        self._raft.peer_connected(peer)

    def peer_closed(self, peer: str) -> None:
        self._raft.peer_disconnected(peer)

    def peer_sent(self, peer: str, connection: int, data: bytes) -> None:
        for message in self._readers[connection].feed(data):
            assert not isinstance(message, Hello | KeyOffer | KeyAnswer)
            self._raft.receive(peer, message)

    # The thread that writes snapshots.

    def _in_background(self, work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
        run = self.run

        def start() -> None:
            if self.paused:
                self.world.agenda.after(0.05, start)
            elif self.running and self.run == run:
                self._guarded(lambda: self._work(work, done))

        self.world.agenda.after(self._rng.uniform(0.0, 0.08), start)

    def _work(self, work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
        result: T | BaseException
        try:
            result = work(lambda: None)
        except Exception as error:  # raised again by the engine
            result = error
            if self.disk.capacity is not None:
                self._met_full_disk = error
        run = self.run

        def hand_over() -> None:
            if self.run == run:
                self.post(lambda: done(result))

        # Now and then it takes longer than an election.
        self.world.agenda.after(self._rng.uniform(0.0, 1.5 if self._rng.random() < 0.1 else 0.03), hand_over)

    def _report(self, event: str, **fields: Any) -> None:
        self.world.say(
            self.name, event.removeprefix("consensus."), " ".join(f"{k} {v}" for k, v in fields.items())
        )

    # What the oracles see.

    @property
    def leads(self) -> bool:
        return self._raft.core.role is Role.LEADER

    @property
    def leader(self) -> str | None:
        return self._raft.core.leader

    @property
    def term(self) -> int:
        return self._raft.core.term

    @property
    def voters(self) -> frozenset[str]:
        return frozenset(self._raft.core.members.configuration.voters)

    @property
    def learners(self) -> frozenset[str]:
        return frozenset(self._raft.core.members.configuration.learners)

    @property
    def entries(self) -> Sequence[LogEntry]:
        return self._journal._entries

    @property
    def commit_index(self) -> int:
        return self._raft.core.commit_index

    @property
    def applied_index(self) -> int:
        return self._raft.core.applied_index

    @property
    def stored(self) -> bool:
        return not self._journal._pending and self.disk.is_clean(str(self._journal.folder), ".journal")
