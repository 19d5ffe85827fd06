"""Figures of a link that no single look has, in the vocabulary of ETSI GS QKD 015. Pure.

The KME tells how much it distils (skr). What of it can be had (eskr), what is
drawn (expected_consumption) and when the store will be empty are measured here,
over the looks of the last minutes. Other SAEs draw from the same store: they are
in the trend of the store, and not in the consumption, which is this node's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qkms_node.service.monitoring.look import Look

TREND_S = 60.0
"""How far back the trend of the store is looked at."""
CONSUMPTION_S = 600.0
"""How far back this node's consumption is looked at."""
LEAST_S = 1.0
"""Less time than this between two looks makes no rate."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Rates in bit/s, None: not known. `exhaustion_s`: Unix seconds at which the store will be empty."""

    eskr_bps: float | None = None
    consumption_bps: float | None = None
    exhaustion_s: float | None = None
    falling: bool = False


def figures(looks: Sequence[Look], used: Iterable[tuple[float, int]]) -> Figures:
    """From looks in order of time, and when this node took how many bits."""
    answered = [look for look in looks if not look.problem]
    if not answered:
        return Figures()
    last = answered[-1]
    taken = list(used)
    consumption = _consumption(answered, taken)
    first = next(look for look in answered if look.time_s >= last.time_s - TREND_S)
    passed_s = last.time_s - first.time_s
    if passed_s < LEAST_S or first.stored is None or last.stored is None:
        return Figures(consumption_bps=consumption)
    growth = (last.stored - first.stored) / passed_s
    in_trend = sum(bits for at_s, bits in taken if first.time_s < at_s <= last.time_s) / passed_s
    # What a full store has no room for is lost: then what came in says nothing of what could.
    full = last.capacity is not None and last.stored >= last.capacity
    return Figures(
        eskr_bps=None if full else max(0.0, growth * last.key_bits + in_trend),
        consumption_bps=consumption,
        exhaustion_s=last.time_s + last.stored / -growth if growth < 0 else None,
        falling=growth < 0,
    )


def _consumption(answered: Sequence[Look], taken: Iterable[tuple[float, int]]) -> float | None:
    last = answered[-1]
    first_s = max(answered[0].time_s, last.time_s - CONSUMPTION_S)
    passed_s = last.time_s - first_s
    if passed_s < LEAST_S:
        return None
    return sum(bits for at_s, bits in taken if first_s < at_s <= last.time_s) / passed_s
