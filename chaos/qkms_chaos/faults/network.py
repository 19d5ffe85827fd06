"""What can be done to the network of a cluster, whatever stands in it: Toxiproxy, or namespaces.

A fault names directed pairs of members: what the first sends does not reach the second, or reaches it late.
Members are nodes, KMEs, and CLIENTS, which stands for everyone who calls a node. A fault on a pair replaces
the one before; `heal` takes all away. Which connections a backend keeps over a cut is its own matter: Toxiproxy
closes them when it is healed, in namespaces they go on where TCP lets them.
"""

from collections.abc import Iterable
from itertools import permutations
from types import TracebackType
from typing import Protocol, Self

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import Network

CLIENTS = "clients"
Pair = tuple[str, str]


class Unsupported(Exception):
    """This machine or this backend cannot do that; the message says why."""

    code = "UNSUPPORTED"


class FaultyNetwork(Network, Protocol):
    """A network with faults, there while it is entered. Everything raises Unsupported for what it cannot do."""

    kind: str
    """How the command line names it."""

    def cut(self, pairs: Iterable[Pair]) -> None:
        """Nothing gets through; nobody is told."""
        ...

    def slow(self, pairs: Iterable[Pair], delay_ms: int, jitter_ms: int = 0) -> None:
        """Everything comes so much later, give or take the jitter."""
        ...

    def limit(self, pairs: Iterable[Pair], kib_per_s: int) -> None:
        """No more than this gets through."""
        ...

    def reset(self, pairs: Iterable[Pair]) -> None:
        """The connections of now end with a reset; new ones are good."""
        ...

    def heal(self) -> None:
        """No fault is left."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def pairs_of(layout: Layout) -> tuple[Pair, ...]:
    """Every pair whose first member dials the second."""
    sites = layout.sites
    return (
        *permutations([site.node for site in sites], 2),
        *((site.node, site.kme) for site in sites),
        *permutations([site.kme for site in sites], 2),
        *((CLIENTS, site.node) for site in sites),
    )


def between(one: Iterable[str], other: Iterable[str]) -> list[Pair]:
    """Both directions between two groups."""
    first, second = list(one), list(other)
    return [pair for a in first for b in second if a != b for pair in ((a, b), (b, a))]
