"""How long the engine's thread is away: the time between two of its rounds, seen from inside.

A thread of its own asks for a round every two milliseconds, so that the engine
never waits longer than that by choice. What is longer is a stall: a long round,
a disk, the interpreter held by another thread, the processor given to somebody
else. The asking thread is delayed by the last two as well: figures err upwards.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qkms_chaos.bench.figures import MS, percentile

PERIOD_S = 0.002

Submit = Callable[[Callable[[Any], None]], None]


@dataclass(frozen=True)
class Gaps:
    """Times between two rounds within a span, in milliseconds."""

    rounds: int
    p99_ms: float
    max_ms: float


def gaps_of(seen: list[tuple[float, float]], since: float, until: float) -> Gaps:
    """Of (end, length) pairs in seconds, those that touch the span; ValueError when there are none."""
    within = sorted(length for end, length in seen if end >= since and end - length <= until)
    return Gaps(len(within), percentile(within, 99) * MS, percentile(within, 100) * MS)


class RoundGauge:
    """`seen`: (end, length) of each time between two rounds, on the machine's monotonic clock."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._asked = False
        self._last = 0.0
        self.seen: list[tuple[float, float]] = []

    def start(self) -> None:
        """Asks until the process ends."""
        self._last = time.monotonic()
        threading.Thread(target=self._ask, name="round-gauge", daemon=True).start()

    def _ask(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            if not self._asked:
                self._asked = True
                self._submit(self._round)

    def _round(self, _: object) -> None:
        now = time.monotonic()
        self.seen.append((now, now - self._last))
        self._last = now
        self._asked = False
