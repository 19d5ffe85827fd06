"""Read barriers by ReadIndex: an index that covers every write acknowledged before.

Mends of PySyncObj (J): a cut-off leader answers reads there. Here every node
asks the leader for an index confirmed after the question (read_rounds), waits
until it has applied it, and only then lets its callers read. Callers that
arrive while a question is under way share the next one. Questions that nobody
waits for are patient: they travel with the next heartbeat.

The start of a barrier that completed bounds how stale this node's state can
be, by this node's own clock alone.
"""

from dataclasses import dataclass, field
from itertools import count

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import ProbeAnswer, ReadIndex, ReadIndexAnswer
from qkms_node.consensus.read_rounds import Rounds
from qkms_node.consensus.replica import NoQuorum, Role


@dataclass(eq=False, slots=True)
class Waiter:
    """One caller. `result`: the applied index, or why there is none."""

    deadline: float
    ticket: object
    result: int | NoQuorum | None = None


@dataclass(slots=True)
class _Asked:
    """Callers that share one request; none for a patient one. `started`: when it was sent."""

    started: float
    waiters: list[Waiter]
    patient: bool


@dataclass
class _Local:
    """Callers of this node: not asked for yet, asked for by number, confirmed and waiting to be applied."""

    arrived: list[Waiter] = field(default_factory=list)
    asked: dict[int, _Asked] = field(default_factory=dict)
    confirmed: list[tuple[int, _Asked]] = field(default_factory=list)


class Reads:
    """All barriers of this node's callers; with `Rounds`, those of followers too."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._rounds = Rounds(core)
        self._local = _Local()
        # Not from 1: the leader may still answer a request of this node's run before, begun too early for ours.
        self._numbers = count(core.rng.getrandbits(60))
        self._asked_at = float("-inf")
        self._next_deadline = float("inf")
        self.fresh_since: float | None = None
        self.ended: list[Waiter] = []

    def add(self, waiter: Waiter) -> None:
        """Takes a caller of this node."""
        self._local.arrived.append(waiter)
        self._next_deadline = min(self._next_deadline, waiter.deadline)

    def step(self) -> None:
        """Asks, confirms and ends what is due; called at the end of each tick."""
        self._finish_rounds()
        if self._local.asked:
            self._reask_lost()
        if self._ask():
            self._finish_rounds()
        if self._local.confirmed:
            self._complete()
        self._expire()

    def _finish_rounds(self) -> None:
        self._rounds.step()
        for asker, number, index in self._rounds.confirmed:
            if asker == self._core.id:
                self._confirm(number, index)
            else:
                self._core.send(asker, ReadIndexAnswer(number, True, index))
        self._rounds.confirmed.clear()

    def next_deadline(self) -> float:
        """When `step` has something to do without a message."""
        if not self._reaches_leader():
            return self._next_deadline
        if self._local.arrived or self._local.asked:
            return min(self._asked_at + self._core.timing.heartbeat_s, self._next_deadline)
        return min(self._patience_ends(), self._next_deadline)

    def on_read_index(self, peer: str, message: ReadIndex) -> None:
        if self._core.role is Role.LEADER:
            self._rounds.ask(peer, message.seq, patient=message.patient)
        else:
            self._core.send(peer, ReadIndexAnswer(message.seq, False, 0))

    def on_read_index_answer(self, message: ReadIndexAnswer) -> None:
        if message.ok:
            self._confirm(message.seq, message.index)
        elif message.seq in self._local.asked:
            self._local.arrived += self._local.asked.pop(message.seq).waiters

    def on_probe_answer(self, peer: str, message: ProbeAnswer) -> None:
        self._rounds.on_answer(peer, message)

    def stopped_leading(self) -> None:
        """Followers are told to ask elsewhere; own callers ask again."""
        for asker, number in self._rounds.end():
            if asker != self._core.id:
                self._core.send(asker, ReadIndexAnswer(number, False, 0))
            elif number in self._local.asked:
                self._local.arrived += self._local.asked.pop(number).waiters

    def end_all(self) -> None:
        """The node stops."""
        self._next_deadline = float("-inf")
        self._expire(everyone=True)

    def _reask_lost(self) -> None:
        patience = 4 * self._core.timing.heartbeat_s
        now = self._core.now()
        for number in [n for n, asked in self._local.asked.items() if now - asked.started > patience]:
            self._local.arrived += self._local.asked.pop(number).waiters

    def _patience_ends(self) -> float:
        """When freshness is renewed even if that takes a packet of its own."""
        timing = self._core.timing
        return self._asked_at + timing.background_barrier_s + 2 * timing.heartbeat_s

    def _is_due(self, leader: str) -> bool:
        core, now = self._core, self._core.now()
        if self._local.arrived:
            hurried = any(not asked.patient for asked in self._local.asked.values())
            return not hurried or now - self._asked_at >= core.timing.heartbeat_s
        if self._local.asked or now - self._asked_at < core.timing.background_barrier_s:
            return False
        return leader == core.id or core.speaks_to(leader) or now >= self._patience_ends()

    def _reaches_leader(self) -> bool:
        core = self._core
        return core.leader is not None and (core.leader == core.id or core.leader in core.connected)

    def _ask(self) -> bool:
        core, local = self._core, self._local
        leader = core.leader
        if leader is None or not self._reaches_leader() or not self._is_due(leader):
            return False
        number, patient = next(self._numbers), not local.arrived
        self._asked_at = core.now()
        local.asked[number] = _Asked(self._asked_at, local.arrived, patient)
        local.arrived = []
        if leader == core.id:
            self._rounds.ask(core.id, number, patient=patient)
        else:
            core.send(leader, ReadIndex(number, patient))
        return True

    def _confirm(self, number: int, index: int) -> None:
        asked = self._local.asked.pop(number, None)
        if asked is not None:
            self._local.confirmed.append((index, asked))

    def _complete(self) -> None:
        applied = self._core.applied_index
        waiting: list[tuple[int, _Asked]] = []
        for index, asked in self._local.confirmed:
            if index > applied:
                waiting.append((index, asked))
                continue
            self.fresh_since = max(asked.started, self.fresh_since or asked.started)
            for waiter in asked.waiters:
                self._end(waiter, applied)
        self._local.confirmed = waiting

    def _expire(self, *, everyone: bool = False) -> None:
        now = self._core.now()
        if now < self._next_deadline and not everyone:
            return
        local = self._local
        groups = [
            local.arrived,
            *(a.waiters for a in local.asked.values()),
            *(a.waiters for _, a in local.confirmed),
        ]
        for group in groups:
            for waiter in group:
                if everyone or waiter.deadline <= now:
                    self._end(waiter, NoQuorum("no majority confirmed the leader in time"))
            group[:] = [waiter for waiter in group if waiter.result is None]
        self._next_deadline = min((w.deadline for group in groups for w in group), default=float("inf"))

    def _end(self, waiter: Waiter, result: int | NoQuorum) -> None:
        if waiter.result is None:
            waiter.result = result
            self.ended.append(waiter)
