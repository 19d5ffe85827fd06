"""Listings of keys: what a filter lets through, in order of name, from a name on."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from qkms_node.ledger.records import KeyRecord
from qkms_node.ledger.state import State


@dataclass(frozen=True)
class KeyFilter:
    """All that is given must hold. `deleted`: tombstones instead of keys; `disabled` None: both."""

    labels: dict[str, str] = field(default_factory=dict)
    algorithm: str = ""
    prefix: str = ""
    disabled: bool | None = None
    deleted: bool = False

    def matches(self, key: KeyRecord) -> bool:
        """Whether the key passes; its prefix is looked at elsewhere."""
        return (
            self.labels.items() <= key.labels.items()
            and self.algorithm in ("", key.algorithm)
            and self.disabled in (None, key.disabled)
        )


class KeyNames:
    """Key names in order, sorted again only after one was added or removed."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._counts = (0, 0)
        self._sorted: list[str] = []

    def page(self, state: State, wanted: KeyFilter, after: str, limit: int) -> list[KeyRecord]:
        """Up to `limit` keys after the name `after`."""
        table = state.tombstones if wanted.deleted else state.keys
        names = sorted(table) if wanted.deleted else self._names(state)
        found: list[KeyRecord] = []
        for name in _range(names, wanted.prefix, after):
            if wanted.matches(table[name]):
                found.append(table[name])
                if len(found) == limit:
                    break
        return found

    def _names(self, state: State) -> list[str]:
        # Names come by creation and go into tombstones, which only grow: equal counts, equal names.
        counts = (len(state.keys), len(state.tombstones))
        if self._state is not state or self._counts != counts:
            self._state, self._counts, self._sorted = state, counts, sorted(state.keys)
        return self._sorted


def _range(names: list[str], prefix: str, after: str) -> Iterator[str]:
    start = max(bisect_left(names, prefix), bisect_right(names, after) if after else 0)
    for position in range(start, len(names)):
        if not names[position].startswith(prefix):
            return
        yield names[position]
