"""Tables that count their live records by group, so that a quota is one look-up.

Every change of a table keeps the count. The groups are the tenant of a key_id (what stands before its first dot)
and the initiator of a session. What counts as live: a key always, a version
until it is destroyed, a session until it is closed or has expired.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from qkms_node.ledger.records import KeyRecord, SessionRecord, SessionState, VersionRecord, VersionState
from qkms_node.ledger.tables import Table

K = TypeVar("K")
V = TypeVar("V")

ENDED = frozenset({SessionState.CLOSED, SessionState.EXPIRED})


class Tally(Table[K, V]):
    """A table with `live`: how many live records each group has."""

    __slots__ = ("_group", "live")

    def __init__(self, group: Callable[[K, V], str | None]) -> None:
        super().__init__()
        self._group = group
        self.live: Counter[str] = Counter()

    def fill(self, rows: Iterable[tuple[K, V]]) -> None:
        """As Table.fill, counted."""
        super().fill(self._counted(rows))

    def __setitem__(self, key: K, value: V) -> None:
        self._forget(key)
        super().__setitem__(key, value)
        self._count_in(key, value)

    def __delitem__(self, key: K) -> None:
        self._forget(key)
        super().__delitem__(key)

    def _counted(self, rows: Iterable[tuple[K, V]]) -> Iterator[tuple[K, V]]:
        for key, value in rows:
            self._count_in(key, value)
            yield key, value

    def _count_in(self, key: K, value: V) -> None:
        group = self._group(key, value)
        if group is not None:
            self.live[group] += 1

    def _forget(self, key: K) -> None:
        old = self.get(key)
        group = None if old is None else self._group(key, old)
        if group is not None:
            self.live[group] -= 1
            if not self.live[group]:
                del self.live[group]


def tenant_of(key_id: str) -> str:
    """What stands before the first dot of a key_id; empty without a dot: no tenant."""
    tenant, dot, _ = key_id.partition(".")
    return tenant if dot else ""


def key_tally() -> Tally[str, KeyRecord]:
    """Keys by tenant."""
    return Tally(lambda key_id, _: tenant_of(key_id))


def version_tally() -> Tally[tuple[str, int], VersionRecord]:
    """Versions that are not destroyed, by tenant."""
    return Tally(lambda key, v: None if v.state is VersionState.DESTROYED else tenant_of(key[0]))


def session_tally() -> Tally[str, SessionRecord]:
    """Sessions that are open, by initiator."""
    return Tally(lambda _, s: None if s.state in ENDED else s.initiator)
