"""Which relays the QKD keys of a root epoch have passed, and what keys that refuse relays are kept from.

A relay sees a QKD key in clear, and with it opens one of the two locks of the
share that the key sealed. So an epoch names the relays of every share of it
there ever was, also of shares that were replaced. A version keeps it for good
that it was under such an epoch: its wrapped form may have been recorded.
Leaves out relays that a KME does not tell of.
"""

from collections.abc import Iterable

import msgspec

from qkms_node.ledger.records import KeyRecord, RootRecord, ShareRecord, VersionRecord
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.tables import Captured

MAX_RELAYS = 256
"""Of one epoch. A KME that made names up could make its record grow with every share."""

MAX_NAME = 128
"""Characters of a KME's name."""


def gathered(known: tuple[str, ...], shares: Iterable[ShareRecord]) -> tuple[str, ...]:
    """The relays known of an epoch and those of more of its shares, sorted. Refuses names that are none."""
    found = set(known)
    for share in shares:
        named = share.relays
        sound = all(0 < len(name) <= MAX_NAME and name.isprintable() for name in named)
        if not sound or named != tuple(sorted(set(named))) or (named and not share.qkd_key_id):
            raise Refusal(
                "RELAYS_MALFORMED",
                f"the share for node {share.node_id} has relays that are no sorted list of names",
            )
        found |= set(named)
    if len(found) > MAX_RELAYS:
        raise Refusal("RELAYS_MALFORMED", f"{len(found)} relays are named of one root epoch, over {MAX_RELAYS}")
    return tuple(sorted(found))


def is_relayed(state: State, version: VersionRecord) -> bool:
    """Whether a version is, or was, under an epoch whose QKD keys have passed relays."""
    root = state.roots.get(version.epoch)
    return version.relayed or (root is not None and bool(root.relays))


def require_direct_root(name: str, root: RootRecord, key_refuses: bool) -> None:
    """Refuses to bring anything of a key that refuses relays under an epoch that names some."""
    if key_refuses and root.relays:
        raise Refusal(
            "RELAYS_REFUSED",
            f"{name} refuses relays, and QKD keys of root epoch {root.epoch} have passed "
            f"{', '.join(root.relays)}; rotate the root (qkms root rotate) while direct links reach every node",
            epoch=root.epoch,
            relays=",".join(root.relays),
        )


def require_direct(state: State, name: str, version: VersionRecord, key_refuses: bool) -> None:
    """Refuses to bring a version into use whose key refuses relays, and that has been under an epoch with some."""
    if key_refuses and is_relayed(state, version):
        raise Refusal(
            "RELAYS_REFUSED",
            f"{name} refuses relays, and its version {version.version} has been under a root epoch whose QKD keys "
            "passed some; make a new version under an epoch without",
            version=version.version,
        )


def holds_refusing(
    epoch: int, keys: Captured[KeyRecord], versions: Captured[VersionRecord], importing: frozenset[str]
) -> bool:
    """Whether anything is under an epoch that a key which refuses relays needs kept from them.

    `importing`: keys that have an import key sealed under the epoch. Looks through all: for a thread.
    """
    refusing = names_refusing(keys)
    if refusing & importing:
        return True
    under = (stored for stored, version in versions if version.wrapped and version.epoch == epoch)
    return bool(refusing) and any(msgspec.msgpack.decode(s, type=tuple[str, int])[0] in refusing for s in under)


def names_refusing(keys: Captured[KeyRecord]) -> frozenset[str]:
    """The ids of the keys that refuse relays."""
    return frozenset(msgspec.msgpack.decode(stored, type=str) for stored, key in keys if key.refuse_relays)
