"""Tables that count their records by group, and one that knows its names in order.

Every change of a table keeps its counts, so that a quota, or what is under a
root epoch, is one look-up in a ledger of any size. What counts: a key always; a
version for its tenant until it is destroyed, for its epoch while it has
material; a session until it is closed or has expired; an SAE key while it is held.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from qkms_node.ledger.records import KeyRecord, SessionRecord, SessionState, VersionRecord, VersionState
from qkms_node.ledger.sae_records import SaeKeyRecord
from qkms_node.ledger.tables import BLOCK, Table

K = TypeVar("K")
V = TypeVar("V")

FEW = 64
"""Names put in their places one by one, each a search and a move of memory; more are sorted with the rest."""

ENDED = frozenset({SessionState.CLOSED, SessionState.EXPIRED})


class Tally(Table[K, V]):
    """A table with `counts`: by grouping, how many records each group has; of group None, none is counted."""

    __slots__ = ("_groupings", "counts")

    def __init__(self, **groupings: Callable[[K, V], Any]) -> None:
        super().__init__()
        self._groupings = groupings
        self.counts: dict[str, Counter[Any]] = {name: Counter() for name in groupings}

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
        for name, group_of in self._groupings.items():
            group = group_of(key, value)
            if group is not None:
                self.counts[name][group] += 1

    def _forget(self, key: K) -> None:
        old = self.get(key)
        if old is None:
            return
        for name, group_of in self._groupings.items():
            group = group_of(key, old)
            if group is None:
                continue
            counter = self.counts[name]
            counter[group] -= 1
            if not counter[group]:
                del counter[group]


class Names(Tally[str, V]):
    """A tally whose keys are names, put in order when they are asked for."""

    __slots__ = ("_new", "_ordered")

    def __init__(self, **groupings: Callable[[str, V], Any]) -> None:
        super().__init__(**groupings)
        self._ordered: list[str] = []
        self._new: list[bytes] = []  # as they are encoded

    def ordered(self) -> list[str]:
        """All names, ascending. Not to be changed, nor kept: the next change of the table changes it."""
        new = [msgspec.msgpack.decode(stored) for stored in self._new]
        self._new.clear()
        if len(new) <= FEW:
            for name in new:
                insort(self._ordered, name)
        else:
            self._ordered += new
            self._ordered.sort()
        return self._ordered

    def after(self, name: str, prefix: str = "") -> Iterator[str]:
        """The names after `name` that begin with `prefix`, ascending."""
        names = self.ordered()
        start = bisect_left(names, max(prefix, name + "\0" if name else ""))
        for place in range(start, len(names)):
            if not names[place].startswith(prefix):
                return
            yield names[place]

    def dismantle(self) -> Iterator[None]:
        """As Table.dismantle."""
        while self._ordered or self._new:
            del self._ordered[-BLOCK:], self._new[-BLOCK:]
            yield
        yield from super().dismantle()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        names = self.ordered()
        del names[bisect_left(names, key)]

    def _insert(self, stored: bytes, value: V, shard: dict[bytes, V]) -> None:
        super()._insert(stored, value, shard)
        self._new.append(stored)


def tenant_of(key_id: str) -> str:
    """What stands before the first dot of a key_id; empty without a dot: no tenant."""
    tenant, dot, _ = key_id.partition(".")
    return tenant if dot else ""


def key_tally() -> Names[KeyRecord]:
    """Keys by tenant and by algorithm."""
    return Names(tenant=lambda key_id, _: tenant_of(key_id), algorithm=lambda _, key: key.algorithm)


def version_tally() -> Tally[tuple[str, int], VersionRecord]:
    """Versions by tenant, by the epoch that they are wrapped under, and by state."""
    return Tally(
        tenant=lambda key, v: None if v.state is VersionState.DESTROYED else tenant_of(key[0]),
        epoch=lambda _, v: v.epoch if v.wrapped else None,
        state=lambda _, v: v.state,
    )


def session_tally() -> Tally[str, SessionRecord]:
    """Sessions that have not ended, by initiator and by epoch."""
    return Tally(
        initiator=lambda _, s: None if s.state in ENDED else s.initiator,
        epoch=lambda _, s: None if s.state in ENDED else s.epoch,
    )


def sae_key_tally() -> Tally[str, SaeKeyRecord]:
    """SAE keys that are held: by master and first slave, and by the epoch that they are sealed under."""
    return Tally(
        pair=lambda _, key: (key.master, key.slaves[0]) if key.sealed else None,
        epoch=lambda _, key: key.epoch if key.sealed else None,
    )
