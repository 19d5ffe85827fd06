"""How long the engine's thread is away: the time between two of its rounds, seen from inside, and why.

A thread of its own asks for a round every two milliseconds, so that the engine
never waits longer than that by choice. What is longer is a stall: a long round,
the interpreter held by another thread, a sync of the disk, or the processor
given to another process. The last two say more of the machine than of the
engine, so they are measured too: the time in fsync and fdatasync on the engine's
thread, and the kernel's count of how long a thread was ready and did not run.
Of the threads of the process the longest such wait counts, since any of them may
have been holding the interpreter. Linux only.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from qkms_chaos.bench.figures import MS, percentile

PERIOD_S = 0.002
NS = 1e-9

Submit = Callable[[Callable[[Any], None]], None]


@dataclass(frozen=True)
class Gap:
    """Seconds; `end` on the machine's monotonic clock. `processor` and `disk`: what was waited for in it."""

    end: float
    length: float
    processor: float
    disk: float

    @property
    def own(self) -> float:
        """What is left when the waits are taken off."""
        return max(0.0, self.length - self.processor - self.disk)


@dataclass(frozen=True)
class Gaps:
    """Times between two rounds within a span, in milliseconds. `own_max_ms`: see Gap.own."""

    rounds: int
    p99_ms: float
    max_ms: float
    own_max_ms: float
    disk_max_ms: float


def gaps_of(seen: Iterable[Gap], since: float, until: float) -> Gaps:
    """Summary of those that touch the span; ValueError when there are none."""
    within = [gap for gap in seen if gap.end >= since and gap.end - gap.length <= until]
    lengths = sorted(gap.length for gap in within)
    return Gaps(
        len(within),
        percentile(lengths, 99) * MS,
        percentile(lengths, 100) * MS,
        max(gap.own for gap in within) * MS,
        max(gap.disk for gap in within) * MS,
    )


class RoundGauge:
    """`seen`: every time between two rounds from the start on."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._asked = False
        self._stopped = threading.Event()
        self._last = 0.0
        self._waits = _Waits()
        self._disk = _DiskTime()
        self.seen: list[Gap] = []

    def start(self) -> None:
        """Asks until `stop`."""
        self._last = time.monotonic()
        threading.Thread(target=self._ask, name="round-gauge", daemon=True).start()

    def stop(self) -> None:
        """Asks no more."""
        self._stopped.set()

    def so_far(self) -> list[Gap]:
        """`seen`, and the time since the last round, of whose waits nothing is known yet."""
        now = time.monotonic()
        return [*self.seen, Gap(now, now - self._last, 0.0, 0.0)]

    def _ask(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            if not self._asked:
                self._asked = True
                self._submit(self._round)

    def _round(self, _: object) -> None:
        now = time.monotonic()
        self.seen.append(Gap(now, now - self._last, self._waits.longest(), self._disk.take()))
        self._last = now
        self._asked = False


class _Waits:
    """How long each thread of this process was ready to run and did not, by /proc/self/task/*/schedstat."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def longest(self) -> float:
        """The longest wait of one thread since the last call, in seconds."""
        waits = self._read()
        grown = [wait - self._before.get(thread, wait) for thread, wait in waits.items()]
        self._before = waits
        return max(grown, default=0) * NS

    def _read(self) -> dict[int, int]:
        waits: dict[int, int] = {}
        for thread in threading.enumerate():
            number = thread.native_id
            if number is None:
                continue
            with suppress(OSError):  # it ended meanwhile
                if number not in self._open:
                    self._open[number] = os.open(f"/proc/self/task/{number}/schedstat", os.O_RDONLY)
                waits[number] = int(os.pread(self._open[number], 100, 0).split()[1])
        for number in self._open.keys() - waits.keys():
            os.close(self._open.pop(number))
        return waits


class _DiskTime:
    """Stands before os.fsync and os.fdatasync and counts the time that the engine's thread spends in them."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._thread: int | None = None
        os.fsync, os.fdatasync = self._timed(os.fsync), self._timed(os.fdatasync)

    def take(self) -> float:
        """Seconds since the last call. Called on the thread that is watched."""
        self._thread = threading.get_ident()
        spent, self._spent = self._spent, 0.0
        return spent

    def _timed(self, sync: Callable[[Any], None]) -> Any:
        def timed(file: Any) -> None:
            begun = time.monotonic()
            try:
                sync(file)
            finally:
                if threading.get_ident() == self._thread:
                    self._spent += time.monotonic() - begun

        return timed
