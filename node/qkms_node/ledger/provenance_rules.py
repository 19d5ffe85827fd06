"""What the QKD keys of a root epoch have gone through, and what keys that demand better are kept from.

A relay sees a QKD key in clear, and with it opens one of the two locks of the
share that the key sealed; the higher the QBER of a link, the more of its keys
somebody may have learnt, however well privacy amplification was done. So an
epoch names the relays of every share of it there ever was, and the greatest
QBER, also of shares that were replaced. A version keeps it for good that it was
under such an epoch: its wrapped form may have been recorded. Leaves out relays
that a KME does not tell of; a QBER that it does not tell is taken for the worst.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from qkms_node.ledger.commands import CreateKey
from qkms_node.ledger.records import QBER_UNTOLD, KeyRecord, RootRecord, ShareRecord, VersionRecord
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.tables import Captured

MAX_RELAYS = 256
"""Of one epoch. A KME that made names up could make its record grow with every share."""

MAX_NAME = 128
"""Characters of a KME's name."""


class Provenance(NamedTuple):
    """Whether QKD keys have passed relays, and the greatest QBER of their links (0: there are no QKD keys)."""

    relayed: bool
    qber: float

    def with_more(self, other: "Provenance") -> "Provenance":
        """That of both together."""
        return Provenance(self.relayed or other.relayed, max(self.qber, other.qber))


class Demands(NamedTuple):
    """What a key demands of the QKD keys that it stands under. `max_qber` 0: nothing of their QBER."""

    refuse_relays: bool
    max_qber: float

    def met(self, provenance: Provenance) -> bool:
        """Whether nothing stands against what these QKD keys have gone through."""
        return not (self.refuse_relays and provenance.relayed) and not self.exceeded(provenance)

    def exceeded(self, provenance: Provenance) -> bool:
        """Whether the QBER is higher than the key allows."""
        return bool(self.max_qber) and provenance.qber > self.max_qber


NO_DEMANDS = Demands(False, 0.0)


def demands_of(key: KeyRecord | CreateKey) -> Demands:
    """What a key demands, also one that is being made."""
    return Demands(key.refuse_relays, key.max_qber)


def provenance_of_root(root: RootRecord) -> Provenance:
    """That of an epoch, as of now."""
    return Provenance(bool(root.relays), root.qber)


def provenance_of(state: State, version: VersionRecord) -> Provenance:
    """That of every epoch that a version has been under, as of now."""
    seen = Provenance(version.relayed, version.qber)
    root = state.roots.get(version.epoch)
    return seen if root is None else seen.with_more(provenance_of_root(root))


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


def worst_qber(known: float, shares: Iterable[ShareRecord]) -> float:
    """The greatest QBER known of an epoch and of more of its shares. Refuses what is no fraction."""
    found = known
    for share in shares:
        # "not <=" so that a NaN is refused: it would pass every comparison after it.
        if not 0 <= share.qber <= QBER_UNTOLD or (share.qber and not share.qkd_key_id):
            raise Refusal("QBER_MALFORMED", f"the share for node {share.node_id} has the QBER {share.qber}")
        found = max(found, share.qber)
    return found


def require_root(name: str, root: RootRecord, demands: Demands) -> None:
    """Refuses to bring anything of a key under an epoch that is less than it demands."""
    provenance = provenance_of_root(root)
    if demands.refuse_relays and root.relays:
        raise Refusal(
            "RELAYS_REFUSED",
            f"{name} refuses relays, and QKD keys of root epoch {root.epoch} have passed "
            f"{', '.join(root.relays)}; rotate the root (qkms root rotate) while direct links reach every node",
            epoch=root.epoch,
            relays=",".join(root.relays),
        )
    if demands.exceeded(provenance):
        raise _qber_too_high(
            name,
            demands,
            f"that of the links which QKD keys of root epoch {root.epoch} came over {_said(root.qber)}; rotate "
            "the root (qkms root rotate) once it is lower",
            qber=root.qber,
            epoch=root.epoch,
        )


def require_version(state: State, name: str, version: VersionRecord, demands: Demands) -> None:
    """Refuses to bring a version into use that has been under an epoch which is less than its key demands."""
    provenance = provenance_of(state, version)
    if demands.refuse_relays and provenance.relayed:
        raise Refusal(
            "RELAYS_REFUSED",
            f"{name} refuses relays, and its version {version.version} has been under a root epoch whose QKD keys "
            "passed some; make a new version under an epoch without",
            version=version.version,
        )
    if demands.exceeded(provenance):
        raise _qber_too_high(
            name,
            demands,
            f"its version {version.version} has been under a root epoch where it {_said(provenance.qber)}; make a "
            "new version under one where it is lower",
            qber=provenance.qber,
            version=version.version,
        )


def _qber_too_high(name: str, demands: Demands, what: str, qber: float, **of: int) -> Refusal:
    limit = f"{name} allows a QBER of {demands.max_qber:.2%} at most"
    told = "" if qber == QBER_UNTOLD else qber
    return Refusal("QBER_TOO_HIGH", f"{limit}, and {what}", qber=told, max_qber=demands.max_qber, **of)


def _said(qber: float) -> str:
    return "was not told by a KME" if qber == QBER_UNTOLD else f"was {qber:.2%}"


def would_worsen(
    epoch: int,
    now: Provenance,
    then: Provenance,
    keys: Captured[KeyRecord],
    versions: Captured[VersionRecord],
    importing: frozenset[str],
) -> bool:
    """Whether a key that is under an epoch, and demands no more than it is now, would demand more than it is then.

    `importing`: keys that have an import key sealed under the epoch. Looks through all: for a thread.
    """
    losing = frozenset(
        msgspec.msgpack.decode(stored, type=str)
        for stored, key in keys
        if (demands := demands_of(key)).met(now) and not demands.met(then)
    )
    if losing & importing:
        return True
    under = (stored for stored, version in versions if version.wrapped and version.epoch == epoch)
    return bool(losing) and any(msgspec.msgpack.decode(s, type=tuple[str, int])[0] in losing for s in under)


def names_demanding_more(keys: Captured[KeyRecord], provenance: Provenance) -> frozenset[str]:
    """The ids of the keys that demand more than this."""
    return frozenset(
        msgspec.msgpack.decode(stored, type=str) for stored, key in keys if not demands_of(key).met(provenance)
    )
