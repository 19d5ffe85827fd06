"""The ledger's state as a stream of records, and its digest.

A snapshot is a sequence of msgpack values, each its own chunk: a header, then
one `[table, key, record]` per record, in the order of the tables. Order is
that of insertion, which equal command sequences make equal, so the digest of
two states is equal exactly when their streams are. Integrity and durability
of the file belong to the consensus layer.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from qkms_node.ledger.access_records import (
    AnchorRecord,
    AuditKeyRecord,
    GrantRecord,
    PolicyRecord,
    RoleRecord,
    TenantRecord,
)
from qkms_node.ledger.member_records import HandoverRecord, JoinTokenRecord, MemberRecord
from qkms_node.ledger.records import (
    EventRecord,
    KeyRecord,
    NodeRecord,
    RecoveryRecord,
    RequestRecord,
    RestoreRecord,
    RootRecord,
    SessionRecord,
    VersionRecord,
    WrappingRecord,
)
from qkms_node.ledger.state import State

FORMAT = 1
SCALARS = (
    "revision",
    "active_epoch",
    "staged_epoch",
    "last_epoch",
    "root_requested",
    "first_event",
    "access_revision",
    "audit_length",
    "audit_base",
    "audit_head",
)

TABLES: dict[str, tuple[Any, Any]] = {
    "keys": (str, KeyRecord),
    "versions": (tuple[str, int], VersionRecord),
    "roots": (int, RootRecord),
    "nodes": (str, NodeRecord),
    "sessions": (str, SessionRecord),
    "requests": (str, RequestRecord),
    "qkd_key_epochs": (str, int),
    "tombstones": (str, KeyRecord),
    "unconfirmed": (tuple[str, int], int),
    "rotation_due": (str, int),
    "wrappings": (str, WrappingRecord),
    "recovery": (str, RecoveryRecord),
    "restores": (str, RestoreRecord),
    "restore_parts": (int, bytes),
    "members": (str, MemberRecord),
    "join_tokens": (str, JoinTokenRecord),
    "handovers": (str, HandoverRecord),
    "policies": (str, PolicyRecord),
    "roles": (str, RoleRecord),
    "tenants": (str, TenantRecord),
    "grants": (str, GrantRecord),
    "audit_keys": (str, AuditKeyRecord),
    "anchors": (tuple[str, int], AnchorRecord),
}

_encode = msgspec.msgpack.Encoder().encode


class SnapshotRejected(Exception):
    """A snapshot that this version cannot read; restore from a peer or upgrade this node."""

    code = "SNAPSHOT_REJECTED"


def snapshot(state: State) -> Iterator[bytes]:
    """The state at this moment as chunks, encoded while the iterator is consumed."""
    header = {name: getattr(state, name) for name in SCALARS} | {"format": FORMAT, "time_ms": state.time_ms}
    tables = [(name, dict(getattr(state, name))) for name in TABLES]
    rows: list[tuple[str, list[Any]]] = [
        ("events", list(state.events)),
        ("due", sorted(state.due)),
        ("audit", list(state.audit)),
    ]
    return _stream(header, tables, rows)


def _stream(
    header: dict[str, Any], tables: list[tuple[str, dict[Any, Any]]], rows: list[tuple[str, list[Any]]]
) -> Iterator[bytes]:
    yield _encode(header)
    for name, table in tables:
        for key, record in table.items():
            yield _encode((name, key, record))
    for name, values in rows:
        for value in values:
            yield _encode((name, None, value))


def restore(chunks: Iterable[bytes]) -> State:
    """The inverse of `snapshot`; raises `SnapshotRejected`."""
    state = State()
    iterator = iter(chunks)
    try:
        header = msgspec.msgpack.decode(next(iterator))
        if header["format"] != FORMAT:
            raise SnapshotRejected(f"snapshot format {header['format']}, this node reads {FORMAT}")
        for name in (*SCALARS, "time_ms"):
            setattr(state, name, header[name])
        events: deque[EventRecord] = deque()
        for chunk in iterator:
            table, key, value = msgspec.msgpack.decode(chunk)
            if table == "events":
                events.append(msgspec.convert(value, EventRecord))
            elif table == "due":
                state.due.append(msgspec.convert(value, tuple[int, str, str, int]))
            elif table == "audit":
                state.audit.append(msgspec.convert(value, bytes))
            else:
                key_type, record_type = TABLES[table]
                getattr(state, table)[msgspec.convert(key, key_type)] = msgspec.convert(value, record_type)
        state.events = events
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise SnapshotRejected(f"snapshot cannot be read: {type(error).__name__}: {error}") from error
    return state


def digest(state: State) -> bytes:
    """SHA-256 (32 bytes) over the state without its clock: equal states have equal digests.

    The clock is left out because it also moves with entries that change nothing.
    """
    hashed = hashlib.sha256()
    chunks = snapshot(state)
    header = msgspec.msgpack.decode(next(chunks))
    del header["time_ms"]
    hashed.update(_encode(header))
    for chunk in chunks:
        hashed.update(len(chunk).to_bytes(4, "big"))
        hashed.update(chunk)
    return hashed.digest()
