"""Tables that count their live records by group, so that a quota is one look-up.

A table is changed by item assignment, `del` and `pop` alone; each keeps the
count. The groups are the tenant of a key_id (what stands before its first dot)
and the initiator of a session. What counts as live: a key always, a version
until it is destroyed, a session until it is closed or has expired.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from qkms_node.ledger.records import KeyRecord, SessionRecord, SessionState, VersionRecord, VersionState

K = TypeVar("K")
V = TypeVar("V")

ENDED = frozenset({SessionState.CLOSED, SessionState.EXPIRED})


class Tally(dict[K, V]):
    """A dict with `live`: how many live records each group has."""

    def __init__(self, group: Callable[[K, V], str | None]) -> None:
        super().__init__()
        self._group = group
        self.live: Counter[str] = Counter()

    def __setitem__(self, key: K, value: V) -> None:
        self._forget(key)
        super().__setitem__(key, value)
        group = self._group(key, value)
        if group is not None:
            self.live[group] += 1

    def __delitem__(self, key: K) -> None:
        self._forget(key)
        super().__delitem__(key)

    def pop(self, key: K, default: Any = None) -> Any:
        """As dict.pop with a default of None."""
        self._forget(key)
        return super().pop(key, default)

    def _forget(self, key: K) -> None:
        if key not in self:
            return
        group = self._group(key, self[key])
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
