"""The audit of mutations, as every node shows it at the end: one unbroken chain, one entry for each effect. Pure.

An answered call that must have had an effect has one entry under its request id, one that may have been in vain at
most one, a refused one none; and no entry is about a key of the history that nobody asked to change. A request
whose outcome stayed unknown may have an entry.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec

from qkms.audit import MUTATIONS_GENESIS, AuditBroken, Head, follow, head_of, number_of
from qkms_chaos.checking.history import CHANGES, Op, Outcome
from qkms_qkd.unreadable import UNREADABLE

CLOCK, CLUSTER = "clock", "cluster"
"""Principals of what nobody asked for."""
_CERTAIN = frozenset({"create", "rotate", "stage"})


class Entry(msgspec.Struct, frozen=True):
    """What one record of the chain says."""

    number: int = msgspec.field(name="n")
    revision: int
    principal: str
    method: str
    resource: str
    request_id: str

    @property
    def key(self) -> str:
        """The key that it is about; empty when it is about none."""
        collection, _, name = self.resource.partition("/")
        return name.partition("/")[0] if collection == "keys" else ""


def entries(ops: Sequence[Op]) -> Mapping[str, list[Entry]]:
    """The records by node, in the order in which it showed them; those that cannot be read are left out."""
    found: dict[str, list[Entry]] = {}
    for node, lines in _lines(ops).items():
        read = (read_entry(line) for line in lines)
        found[node] = [entry for entry in read if entry is not None]
    return found


def chains(ops: Sequence[Op]) -> list[str]:
    """The chain of each node is unbroken, its revisions never fall, and what two nodes have is the same."""
    found: list[str] = []
    first: dict[int, tuple[str, bytes]] = {}
    for node, lines in _lines(ops).items():
        found += _broken(node, lines)
        for line in lines:
            other, there = first.setdefault(number_of(line), (node, line))
            if there != line:
                found.append(f"record {number_of(line)} of the audit differs at {node} and {other}")
    for node, own in entries(ops).items():
        for before, after in pairwise(own):
            if after.revision < before.revision:
                found.append(
                    f"{node}: record {after.number} is of revision {after.revision}, after {before.revision}"
                )
    return found


def effects(ops: Sequence[Op]) -> list[str]:
    """One entry per effect, on every node whose audit was read."""
    asked = _asked(ops)
    keys = {op.key for op in ops if op.call in CHANGES}
    found = []
    for node, own in entries(ops).items():
        times = Counter(entry.request_id for entry in own if entry.request_id)
        for identifier, calls in asked.items():
            least, most = _expected(calls)
            if not least <= times[identifier] <= most:
                found.append(f"{node}: {times[identifier]} entries of the audit for {calls[0]}")
        found += [
            f"{node}: an effect that nobody asked for: record {entry.number}, {entry.method} {entry.resource}"
            for entry in own
            if entry.key in keys and entry.principal not in (CLOCK, CLUSTER) and entry.request_id not in asked
        ]
    return found


def _asked(ops: Sequence[Op]) -> Mapping[str, list[Op]]:
    found: dict[str, list[Op]] = {}
    for op in ops:
        if op.call in CHANGES and op.args.get("request_id") is not None:
            found.setdefault(str(op.args["request_id"]), []).append(op)
    return found


def _expected(calls: Sequence[Op]) -> tuple[int, int]:
    """How many entries calls under one request id may have, at least and at most."""
    outcomes = {op.outcome for op in calls}
    if Outcome.OK in outcomes:
        certain = any(op.call in _CERTAIN or op.answer.get("already_active") is False for op in calls)
        return int(certain), 1
    return 0, int(Outcome.UNKNOWN in outcomes)


def _lines(ops: Sequence[Op]) -> Mapping[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for op in ops:
        if op.call == "audited":
            found.setdefault(op.node, []).append(str(op.answer.get("line")).encode())
    return found


def _broken(node: str, lines: Sequence[bytes]) -> list[str]:
    """The first record that does not follow from the one before; a node's oldest one follows nothing."""
    try:
        rest = list(lines)
        head = Head(0, MUTATIONS_GENESIS) if number_of(rest[0]) == 1 else head_of(rest.pop(0))
        for line in rest:
            head = follow(head, line)
    except AuditBroken as broken:
        return [f"the audit of {node}: {broken}"]
    return []


@lru_cache(maxsize=1 << 17)
def read_entry(line: bytes) -> Entry | None:
    """What a record says; None when it says nothing of the kind."""
    try:
        return msgspec.json.decode(line, type=Entry)
    except UNREADABLE:
        return None
