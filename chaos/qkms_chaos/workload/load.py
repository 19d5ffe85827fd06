"""What a load is: who does how much to which keys, and at which levels of consistency they ask. Pure."""

from dataclasses import dataclass
from datetime import timedelta

from qkms_chaos.checking.history import Value
from qkms_client import Consistency, bounded, linearizable
from qkms_client.consistency import STALE_OK

MAX_STALENESS = timedelta(seconds=2)

Named = tuple[dict[str, Value], Consistency | None]
"""A level as the history has it, and as a call takes it."""
LINEARIZABLE: Named = ({"level": "linearizable"}, linearizable())
BOUNDED: Named = ({"level": "bounded", "bound_ms": 1000}, bounded(timedelta(seconds=1)))
STALE: Named = ({"level": "stale_ok"}, STALE_OK)
OWN: Named = ({}, None)
"""The key's own bound, its `max_staleness`."""


@dataclass(frozen=True)
class Load:
    """Who does how much to what."""

    keys: tuple[str, ...] = ("chaos-1", "chaos-2", "chaos-3")
    roaming: int = 6
    bound: int = 2
    """For each node."""
    rotate: int = 12
    """The share of rotations; of the other operations together there are 81."""
    staged: tuple[str, ...] = ()
    """Of the keys, those of which a client of its own stages versions."""
    watchers: int = 1
    seed: int = 1
    max_staleness: timedelta = MAX_STALENESS
    """Of every key."""
