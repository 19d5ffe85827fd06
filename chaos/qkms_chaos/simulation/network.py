"""Connections between simulated nodes: bytes in order per connection, delayed, held up, cut, half open.

As with the real routes, a connection exists for each end by itself: one end
may have given it up while the other still sends into it, and what it sent
before is delivered as long as the other end has it. A blocked direction holds
messages back, as TCP does; an end that hears nothing for too long gives up.
"""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from qkms_chaos.simulation.agenda import Agenda

IDLE_S = 0.9
RETRY_S = 0.06
_OPEN, _CLOSE = object(), object()


class Endpoint(Protocol):
    """A node as the network sees it."""

    @property
    def reachable(self) -> bool:
        """Whether its process is there and not stopped."""
        ...

    def admits(self, peer: str) -> bool:
        """Whether it would have a connection to `peer`."""
        ...

    def opened(self, peer: str, connection: int) -> None: ...
    def closed(self, peer: str) -> None: ...
    def arrived(self, peer: str, connection: int, data: bytes) -> None: ...


@dataclass
class _Direction:
    """What one end has sent and the other has not seen yet."""

    waiting: deque[tuple[float, object]] = field(default_factory=deque)
    last_due: float = 0.0
    pumping: bool = False


@dataclass(eq=False)
class _Connection:
    number: int
    ends: tuple[str, str]
    directions: dict[str, _Direction]  # by sender
    heard_at: dict[str, float]
    opened: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)  # ends whose process ended

    def other(self, end: str) -> str:
        return self.ends[1] if end == self.ends[0] else self.ends[0]


class Network:
    """All connections. `blocked` holds the directed pairs that nothing passes."""

    def __init__(self, agenda: Agenda, rng: random.Random, names: list[str]) -> None:
        self._agenda = agenda
        self._rng = rng
        self._names = names
        self._nodes: dict[str, Endpoint] = {}
        self._current: dict[tuple[str, str], _Connection] = {}  # by (owner, peer)
        self._newest: dict[tuple[str, str], _Connection] = {}  # by pair, perhaps not open yet
        self._numbers = 0
        self.blocked: set[tuple[str, str]] = set()
        self.slowest_s = 0.004
        for position, a in enumerate(names):
            for b in names[position + 1 :]:
                self._plan_attempt(a, b)

    def attach(self, name: str, node: Endpoint) -> None:
        """From now on `node` is what answers to `name`."""
        self._nodes[name] = node

    def send(self, sender: str, receiver: str, data: bytes) -> None:
        """Queues on the sender's connection; dropped when it has none."""
        connection = self._current.get((sender, receiver))
        if connection is not None:
            self._queue(connection, sender, data)

    def drop(self, owner: str, peer: str, *, silently: bool) -> None:
        """`owner` gives up its connection to `peer`, who learns it from a close unless `silently`."""
        connection = self._current.pop((owner, peer), None)
        if connection is None:
            return
        self._nodes[owner].closed(peer)
        if not silently:
            self._queue(connection, owner, _CLOSE)

    def vanish(self, name: str, *, silently: bool) -> None:
        """The process of `name` is gone. `silently`: with its machine, nobody says so to its peers."""
        for peer in self._names:
            connection = self._current.pop((name, peer), None)
            if connection is not None:
                connection.gone.add(name)
                if not silently:
                    self._queue(connection, name, _CLOSE)
        for connection in self._newest.values():
            if name in connection.ends:
                connection.gone.add(name)

    def reset(self, a: str, b: str) -> None:
        """The connection breaks and what was under way is lost."""
        for end, other in ((a, b), (b, a)):
            connection = self._current.get((end, other))
            if connection is not None:
                connection.directions[end].waiting.clear()
                self.drop(end, other, silently=True)

    def unblock(self) -> None:
        """All directions are open; what was held back goes on."""
        self.blocked.clear()

    def _delay(self) -> float:
        return self._rng.uniform(0.0003, self.slowest_s)

    def _queue(self, connection: _Connection, sender: str, what: object) -> None:
        direction = connection.directions[sender]
        direction.last_due = max(direction.last_due, self._agenda.now + self._delay())
        direction.waiting.append((direction.last_due, what))
        self._pump_later(connection, sender, direction.last_due)

    def _pump_later(self, connection: _Connection, sender: str, when: float) -> None:
        direction = connection.directions[sender]
        if not direction.pumping:
            direction.pumping = True
            self._agenda.at(when, lambda: self._pump(connection, sender))

    def _pump(self, connection: _Connection, sender: str) -> None:
        direction = connection.directions[sender]
        direction.pumping = False
        receiver = connection.other(sender)
        while direction.waiting and direction.waiting[0][0] <= self._agenda.now:
            if receiver in connection.gone:
                direction.waiting.clear()
                return
            if (sender, receiver) in self.blocked or not self._nodes[receiver].reachable:
                self._pump_later(connection, sender, self._agenda.now + 0.03)
                return
            self._deliver(connection, sender, receiver, direction.waiting.popleft()[1])
        if direction.waiting:
            self._pump_later(connection, sender, direction.waiting[0][0])

    def _deliver(self, connection: _Connection, sender: str, receiver: str, what: object) -> None:
        node = self._nodes[receiver]
        if receiver in connection.gone:
            return
        if what is _OPEN:
            if (receiver, sender) in self._current:
                self.drop(receiver, sender, silently=True)
            connection.opened.add(receiver)
            connection.heard_at[receiver] = self._agenda.now
            self._current[receiver, sender] = connection
            node.opened(sender, connection.number)
            return
        if self._current.get((receiver, sender)) is not connection:
            return
        connection.heard_at[receiver] = self._agenda.now
        if what is _CLOSE:
            self._current.pop((receiver, sender))
            node.closed(sender)
        else:
            assert isinstance(what, bytes)
            node.arrived(sender, connection.number, what)

    # Connecting and giving up.

    def _plan_attempt(self, a: str, b: str) -> None:
        self._agenda.after(self._rng.uniform(0.2, 1.0) * RETRY_S, lambda: self._attempt(a, b))

    def _attempt(self, a: str, b: str) -> None:
        self._plan_attempt(a, b)
        for end, other in ((a, b), (b, a)):
            connection = self._current.get((end, other))
            silent_s = 0.0 if connection is None else self._agenda.now - connection.heard_at[end]
            if silent_s > IDLE_S and self._nodes[end].reachable:
                self.drop(end, other, silently=False)
        if ((a, b) in self._current and (b, a) in self._current) or self._is_opening(a, b):
            return
        open_way = not {(a, b), (b, a)} & self.blocked
        if not open_way or not (self._nodes[a].reachable and self._nodes[b].reachable):
            return
        if self._nodes[a].admits(b) and self._nodes[b].admits(a):
            self._connect(a, b)

    def _is_opening(self, a: str, b: str) -> bool:
        newest = self._newest.get((a, b))
        if newest is None or newest.gone or len(newest.opened) == 2:
            return False
        return self._agenda.now - min(newest.heard_at.values()) < IDLE_S

    def _connect(self, a: str, b: str) -> None:
        self._numbers += 1
        now = self._agenda.now
        directions = {a: _Direction(), b: _Direction()}
        self._newest[a, b] = connection = _Connection(self._numbers, (a, b), directions, {a: now, b: now})
        self._queue(connection, a, _OPEN)
        self._queue(connection, b, _OPEN)
