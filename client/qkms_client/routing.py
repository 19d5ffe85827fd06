"""Which node to ask next.

Pure: time and the spread of the back-off come in as arguments. Mutations go to
the leader where one is known and healthy, which saves a forward inside the
cluster; any node accepts them. Reads go to the first healthy node in the order
of the profile: list the nearest first. A node that fails is left alone for a
time that grows with each failure.

Only nodes of the profile are ever dialled, whatever addresses answers mention.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 2.0
DEMOTED_S = 30.0
"""How long a node that failed is asked only after those that did not."""


@dataclass(frozen=True)
class Choice:
    """A node, and how long to wait before asking it (0: now), in seconds."""

    endpoint: str
    wait: float


@dataclass
class _Health:
    failures: int = 0
    not_before: float = 0.0
    demoted_until: float = 0.0


class Router:
    """What is known of the nodes. Not safe for concurrent use; its owner takes care."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._health = {endpoint: _Health() for endpoint in endpoints}
        if not self._health:
            raise ValueError("a router needs at least one endpoint")
        self._leader: str | None = None
        self._term = 0

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All nodes in order of preference."""
        return tuple(self._health)

    @property
    def leader(self) -> str | None:
        """The leader last heard of, if it is one of the profile's nodes."""
        return self._leader

    def choose(self, now: float, *, mutation: bool, only: str | None = None) -> Choice:
        """The node to ask next. With none ready, the one that will be first, and the wait.

        `only` leaves no choice but the wait. Raises KeyError for a node that is not in the profile.
        """

        def rank(endpoint: str) -> tuple[float, bool, int]:
            health = self._health[endpoint]
            away = not (mutation and endpoint == self._leader)
            demoted = health.failures if now < health.demoted_until else 0
            return max(0.0, health.not_before - now), away, demoted

        best = min(self._health if only is None else (only,), key=rank)
        return Choice(best, rank(best)[0])

    def succeeded(self, endpoint: str) -> None:
        """The node answered as it should."""
        self._health[endpoint] = _Health()

    def failed(self, endpoint: str, now: float, *, spread: float, retry_after: float | None = None) -> None:
        """The node did not serve a call.

        It is left alone for a doubling time, of which `spread` (0 to 1) takes off up to
        half, and at least for `retry_after` seconds, which the node asked for itself.
        """
        health = self._health[endpoint]
        backoff = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(health.failures, 16))
        health.failures += 1
        health.demoted_until = now + DEMOTED_S
        health.not_before = now + max(backoff * (1 - spread / 2), min(retry_after or 0.0, MAX_BACKOFF_S))

    def lost(self, endpoint: str) -> None:
        """The connection to the node failed: if it led, it may lead no more."""
        if self._leader == endpoint:
            self._leader = None

    def heard(self, leader_id: str, term: int) -> None:
        """An answer named the leader of a term (0: not said); older terms are not believed."""
        if term and term < self._term:
            return
        self._term = max(term, self._term)
        self._leader = leader_id if leader_id in self._health else None
