"""A cluster of real engines in one thread: real journals and snapshots, a made-up clock and network.

Everything random comes from one seed. The world checks what must always hold
while it runs: one leader per term, one history of applied commands, every
acknowledged command in it, no certainly refused command in it, and no read
older than what was acknowledged before it began.
"""

import random
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.unit.qkms_node.consensus.world_parts import TINY, Call, History, Machine, Node

from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.messages import Append, Message, SnapshotChunk
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.raft import Environment, Raft
from qkms_node.consensus.reads import Waiter
from qkms_node.consensus.replica import OutcomeUnknown, Role
from qkms_node.consensus.settings import Timing
from qkms_node.consensus.snapshot_store import SnapshotStore
from qkms_node.consensus.snapshots import Pause

T = TypeVar("T")


class World:
    """`run` moves time; faults are methods."""

    def __init__(self, folder: Path, seed: int, set_clock: Callable[[float], None], nodes: int = 3) -> None:
        self.rng = random.Random(seed)
        self.limits = TINY
        self.now = 1000.0
        self.job_s = 0.1  # the longest that work of the background takes
        self._set_clock = set_clock
        set_clock(self.now)
        self.history = History()
        self.nodes = {f"n{i}": Node(f"n{i}", folder / f"n{i}") for i in range(1, nodes + 1)}
        self.cuts: set[frozenset[str]] = set()
        self._torn: set[frozenset[str]] = set()
        self._wires: dict[tuple[str, str], deque[tuple[float, int, Message]]] = {}
        self._connections = 0
        self._links: dict[frozenset[str], int] = {}
        self._leaders: dict[int, str] = {}
        self._commands = 0
        self.calls: list[Call] = []
        self.acknowledged: list[bytes] = []
        self.refused: set[bytes] = set()
        self.sent_entries = 0
        self.sent_chunks: list[SnapshotChunk] = []
        self.reports: list[tuple[str, str, dict[str, Any]]] = []
        for node in self.nodes.values():
            self.start(node.id)

    # Life and death.

    def start(self, name: str) -> None:
        node = self.nodes[name]
        node.machine = Machine(self.history)

        def background(work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
            result = work(lambda: None)
            node.background.append((self.now + self.rng.random() * self.job_s, lambda: done(result)))

        environment = Environment(
            network=_Wire(self, name),
            background=background,
            report=lambda event, **fields: self.reports.append((name, event, fields)),
            rng=self.rng,
            wall_ms=lambda: int(self.now * 1000) + self.rng.randrange(-50, 50),
            free_bytes=lambda _: 1,
        )
        journal = DurableJournal(node.folder / "journal", "world", name, self.limits.segment_bytes)
        store = SnapshotStore(node.folder / "snapshots", "world")
        members = dict.fromkeys(self.nodes, "localhost:1")
        node.raft = Raft(name, members, "world", journal, store, node.machine, Timing(), self.limits, environment)
        node.next_tick = self.now

    def crash(self, name: str) -> None:
        """Power off: what was not flushed is gone. Callers of the node learn nothing more."""
        node = self.nodes[name]
        assert node.raft is not None
        self._collect(node)
        node.raft.core.journal._destroy()
        node.raft = node.machine = None
        node.background.clear()
        node.routes.clear()
        self.calls = [call for call in self.calls if call.node != name]
        for link in [link for link in self._links if name in link]:
            self._drop_link(link)

    def wipe(self, name: str) -> None:
        """Its disk is replaced by an empty one while it is off."""
        shutil.rmtree(self.nodes[name].folder)

    def sleep(self, name: str, seconds: float) -> None:
        """The process does not run; its connections stay."""
        self.nodes[name].sleeps_until = self.now + seconds

    def cut(self, *sides: set[str]) -> None:
        """Only members of one side reach each other."""
        self.cuts = {
            frozenset((a, b))
            for side in sides
            for a in side
            for other in sides
            if other is not side
            for b in other
        }

    def heal(self) -> None:
        self.cuts = set()

    def newcomers(self) -> list[str]:
        """Members with a new disk that have not caught up."""
        return [n.id for n in self.nodes.values() if (n.folder / "journal" / "newcomer").exists()]

    # Clients.

    def propose(self, name: str, timeout_s: float = 5.0) -> Proposal:
        node = self.nodes[name]
        assert node.raft is not None
        self._commands += 1
        command = f"c{self._commands}".encode() + b"." * self.rng.randrange(60)
        proposal = Proposal(command, self.now + timeout_s, None)
        self.calls.append(Call(proposal, name, 0))
        node.raft.proposals.add(proposal)
        node.next_tick = self.now
        return proposal

    def read(self, name: str, timeout_s: float = 5.0) -> Waiter:
        node = self.nodes[name]
        assert node.raft is not None
        waiter = Waiter(self.now + timeout_s, None)
        floor = max((self.history.commands.index(c) + 1 for c in self.acknowledged), default=0)
        self.calls.append(Call(waiter, name, floor))
        node.raft.reads.add(waiter)
        node.next_tick = self.now
        return waiter

    # Time.

    def run(self, seconds: float, until: Callable[[], object] | None = None) -> bool:
        """Moves time on; True as soon as the condition holds."""
        end = self.now + seconds
        while self.now < end:
            if until is not None and until():
                return True
            self._step(end)
        return until is not None and bool(until())

    def _step(self, end: float) -> None:
        self._connect()
        due = [node.next_tick for node in self._running()]
        due += [wire[0][0] for wire in self._wires.values() if wire]
        self.now = min(end, max(self.now + 0.0005, min(due, default=end)))
        self._set_clock(self.now)
        self._deliver()
        for node in self._running():
            if node.next_tick <= self.now:
                self._tick(node)

    def _running(self) -> list[Node]:
        return [n for n in self.nodes.values() if n.raft is not None and n.sleeps_until <= self.now]

    def _tick(self, node: Node) -> None:
        raft = node.raft
        assert raft is not None
        for at, done in [*node.background]:
            if at <= self.now:
                node.background.remove((at, done))
                done()
        node.next_tick = self.now + raft.tick()
        self._collect(node)
        if raft.core.role is Role.LEADER:
            assert self._leaders.setdefault(raft.core.term, node.id) == node.id, "two leaders in a term"

    def _collect(self, node: Node) -> None:
        raft = node.raft
        assert raft is not None
        for proposal in raft.proposals.ended:
            if isinstance(proposal.result, bytes):
                assert proposal.result == proposal.command + b"!"
                self.acknowledged.append(proposal.command)
            elif not isinstance(proposal.result, OutcomeUnknown):
                self.refused.add(proposal.command)
        raft.proposals.ended.clear()
        ended = {id(waiter) for waiter in raft.reads.ended}
        raft.reads.ended.clear()
        for call in self.calls:
            if id(call.item) in ended and isinstance(call.item.result, int):
                assert node.machine is not None
                assert node.machine.count >= call.floor, "a read missed an acknowledged write"
        self.calls = [call for call in self.calls if call.item.result is None]

    # The network.

    def _connect(self) -> None:
        names = [n.id for n in self._running()]
        for a in names:
            for b in names:
                link = frozenset((a, b))
                if a < b and link not in self._links and link not in self.cuts and self.rng.random() < 0.2:
                    self._connections += 1
                    self._links[link] = self._connections
                    for me, peer in ((a, b), (b, a)):
                        self._wires[me, peer] = deque()
                        self._route(me, peer, up=True)
        # A cut is noticed after a while only; a connection that lost something does not outlive it.
        for link in [link for link in self._links if link & self._gone() or link in self.cuts | self._torn]:
            if self.rng.random() < (0.02 if link in self.cuts or link & self._gone() else 1):
                self._drop_link(link)

    def _gone(self) -> set[str]:
        return {n.id for n in self.nodes.values() if n.raft is None}

    def _drop_link(self, link: frozenset[str]) -> None:
        del self._links[link]
        self._torn.discard(link)
        a, b = sorted(link)
        for me, peer in ((a, b), (b, a)):
            self._wires[me, peer].clear()
            self._route(me, peer, up=False)

    def _route(self, me: str, peer: str, *, up: bool) -> None:
        node = self.nodes[me]
        if node.raft is None:
            return
        if up:
            node.routes[peer] = self._links[frozenset((me, peer))]
            node.raft.peer_connected(peer)
        elif peer in node.routes:
            del node.routes[peer]
            node.raft.peer_disconnected(peer)
        node.next_tick = self.now

    def sent(self, me: str, peer: str, messages: list[Message]) -> None:
        link = frozenset((me, peer))
        if peer not in self.nodes[me].routes:
            return
        if link in self.cuts:
            self._torn.add(link)
            return
        wire = self._wires[me, peer]
        for message in messages:
            self.sent_entries += len(message.entries) if isinstance(message, Append) else 0
            self.sent_chunks += [message] if isinstance(message, SnapshotChunk) else []
            at = self.now + 0.0005 + self.rng.random() * 0.003
            wire.append((max(at, wire[-1][0] if wire else 0.0), self._links[link], message))

    def _deliver(self) -> None:
        for (me, peer), wire in self._wires.items():
            receiver = self.nodes[peer]
            while wire and wire[0][0] <= self.now and receiver in self._running():
                _, _, message = wire.popleft()
                assert receiver.raft is not None
                if frozenset((me, peer)) in self.cuts:
                    self._torn.add(frozenset((me, peer)))
                else:
                    receiver.raft.receive(me, message)
                    receiver.next_tick = self.now

    # The end.

    def settle(self, seconds: float = 30.0) -> None:
        """After healing, all members converge; then the books are checked."""
        self.heal()
        for node in self.nodes.values():
            node.sleeps_until = 0.0
            if node.raft is None:
                self.start(node.id)
        assert self.run(seconds, until=self._converged), "the cluster does not converge"
        items = [call(name) for name in self.nodes for call in (self.propose, self.read)]
        assert self.run(seconds, until=lambda: not self.calls), "a healthy cluster does not answer"
        failed = [i.result for i in items if not isinstance(i.result, bytes | int)]
        assert not failed, failed
        assert self.run(seconds, until=self._converged), "the cluster does not converge"
        self.check()

    def check(self) -> None:
        assert len(set(self.history.commands)) == len(self.history.commands), "a command was applied twice"
        applied = set(self.history.commands)
        assert [c for c in self.acknowledged if c not in applied] == [], "an acknowledged command is lost"
        assert self.refused & applied == set(), "a command that was certainly refused was applied"

    def _converged(self) -> bool:
        rafts = [node.raft for node in self.nodes.values()]
        states = {(r.core.applied_index, r.core.last_index, r.core.leader, r.core.term) for r in rafts if r}
        counts = {node.machine.count for node in self.nodes.values() if node.machine}
        return len(states) == len(counts) == 1 and not self.calls and rafts[0] is not None


class _Wire:
    """The network as one member sees it."""

    def __init__(self, world: World, me: str) -> None:
        self._world = world
        self._me = me

    def send(self, peer: str, messages: list[Message]) -> None:
        self._world.sent(self._me, peer, messages)

    def flush(self) -> None:
        """Nothing is held back."""

    def admit(self, members: Mapping[str, str]) -> None:
        """Everybody is let in."""
