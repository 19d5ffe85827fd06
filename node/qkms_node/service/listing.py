"""Listings of keys: what a filter lets through, in order of name, from a name on."""

from dataclasses import dataclass, field

from qkms_node.ledger.records import KeyRecord
from qkms_node.ledger.state import State

LOOKED_AT = 2_000
"""How many keys one look at the ledger may pass over: a filter that few pass must hold nobody up."""


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


@dataclass(frozen=True)
class Look:
    """What one look at the ledger found. `after`: the name to go on from; empty at the end of the listing."""

    keys: list[KeyRecord]
    after: str


def look(state: State, wanted: KeyFilter, after: str, limit: int) -> Look:
    """Up to `limit` keys after the name `after`, from at most LOOKED_AT: the ledger stands still meanwhile."""
    table = state.tombstones if wanted.deleted else state.keys
    found: list[KeyRecord] = []
    for number, name in enumerate(table.after(after, wanted.prefix), start=1):
        key = table[name]
        if wanted.matches(key):
            found.append(key)
        if len(found) == limit or number == LOOKED_AT:
            return Look(found, name)
    return Look(found, "")
