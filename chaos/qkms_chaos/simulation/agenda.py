"""Simulated time: what is to happen when, and each node's own idea of the time."""

import heapq
from collections.abc import Callable
from itertools import count


class Agenda:
    """Events in order of time, then of planning. Time in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Plans `action`; the past means now."""
        heapq.heappush(self._events, (max(time, self.now), next(self._numbers), action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Plans `action` in `delay` seconds."""
        self.at(self.now + delay, action)

    def run_next(self) -> None:
        """Moves to the next event and carries it out."""
        self.now, _, action = heapq.heappop(self._events)
        action()


class NodeClock:
    """A monotonic clock of one node, with a rate of its own and jumps forward; and a wall clock with an error."""

    def __init__(self, agenda: Agenda, origin: float) -> None:
        self._agenda = agenda
        self._local = origin
        self._since = 0.0
        self.rate = 1.0
        self.wall_error_ms = 0

    def now(self) -> float:
        """Monotonic seconds."""
        return self._local + (self._agenda.now - self._since) * self.rate

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, as this node believes."""
        return 1_700_000_000_000 + int(self._agenda.now * 1000) + self.wall_error_ms

    def change(self, rate: float, jump: float = 0.0) -> None:
        """From now on it runs at `rate`, after a jump of `jump` seconds, not negative."""
        self._local = self.now() + jump
        self._since = self._agenda.now
        self.rate = rate

    def until(self, local: float) -> float:
        """True seconds until the clock shows `local`."""
        return max(0.0, (local - self.now()) / self.rate)
