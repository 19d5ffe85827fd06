"""Pure arithmetic of the benchmarks: percentiles, summaries of a load, medians over repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MS = 1000.0


@dataclass(frozen=True)
class Load:
    """What a fixed number of outstanding calls gave: answers per second, and latencies in milliseconds."""

    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Latencies:
    """Of single calls, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class Spread:
    """A set of durations in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    max_ms: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the ascending values that at least `percent` of them do not exceed (nearest rank).

    Raises ValueError for no values, or a percentage outside 0 to 100.
    """
    if not ordered:
        raise ValueError("no values to take a percentile of")
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is not a percentage")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def load_of(latencies_s: Sequence[float], elapsed_s: float) -> Load:
    """Summary of the answers that came within `elapsed_s`; latencies in seconds, in any order."""
    ordered = sorted(latencies_s)
    p50, p95, p99 = (percentile(ordered, percent) * MS for percent in (50, 95, 99))
    return Load(len(ordered) / elapsed_s, p50, p95, p99)


def latencies_of(latencies_s: Sequence[float]) -> Latencies:
    """Summary of latencies in seconds, in any order."""
    ordered = sorted(latencies_s)
    p50, p99, longest = (percentile(ordered, percent) * MS for percent in (50, 99, 100))
    return Latencies(len(ordered), p50, p99, longest)


def spread_of(durations_s: Sequence[float]) -> Spread:
    """Summary of durations in seconds, in any order."""
    ordered = sorted(durations_s)
    return Spread(len(ordered), percentile(ordered, 50) * MS, percentile(ordered, 95) * MS, ordered[-1] * MS)


def median_load(repetitions: Sequence[Load]) -> Load:
    """Each figure's own median."""
    return Load(
        median(load.per_s for load in repetitions),
        median(load.p50_ms for load in repetitions),
        median(load.p95_ms for load in repetitions),
        median(load.p99_ms for load in repetitions),
    )
