"""The ledger's state as a stream of records, and its digest.

A snapshot is a sequence of msgpack values, each its own chunk: a header, then
`[table, [row, ...]]` with up to ROWS rows, in the order of the tables; a row is
`[key, record]`, or a record alone where there is no key. The header has the sum
over all rows (see tables): a stream that lost, doubled or changed a row is
refused. Integrity and durability of the file belong to the consensus layer.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from types import GenericAlias
from typing import Annotated, Any

import msgspec

from qkms_node.ledger.access_records import (
    AnchorRecord,
    AuditKeyRecord,
    GrantRecord,
    PolicyRecord,
    RoleRecord,
    TenantRecord,
)
from qkms_node.ledger.link_records import LinkAlarmRecord
from qkms_node.ledger.member_records import HandoverRecord, JoinTokenRecord, MemberRecord
from qkms_node.ledger.records import (
    EventRecord,
    KeyRecord,
    NodeRecord,
    RecoveryRecord,
    RequestRecord,
    RestoreRecord,
    RootRecord,
    RootRefusalRecord,
    SessionRecord,
    VersionRecord,
    WrappingRecord,
)
from qkms_node.ledger.sae_records import SaeKeyRecord
from qkms_node.ledger.state import Due, State
from qkms_node.ledger.tables import encode, prefix_of
from qkms_node.unreadable import UNREADABLE

FORMAT = 2
ROWS = 64
_CHUNK_OVERHEAD = 64
SCALARS = (
    "revision",
    "active_epoch",
    "staged_epoch",
    "last_epoch",
    "root_requested",
    "root_needed",
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
    "sae_keys": (str, SaeKeyRecord),
    "requests": (str, RequestRecord),
    "qkd_key_epochs": (str, int),
    "tombstones": (str, KeyRecord),
    "unconfirmed": (tuple[str, int], int),
    "rotation_due": (str, int),
    "awaiting_qkd": (str, int),
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
    "link_alarms": (str, LinkAlarmRecord),
    "root_refusals": (int, RootRefusalRecord),
}


def _list_of(kind: GenericAlias) -> Any:
    return GenericAlias(list, (kind,))


_chunks = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_raw_rows = msgspec.msgpack.Decoder(list[msgspec.Raw])
_rows: dict[str, msgspec.msgpack.Decoder[Any]] = {
    **{name: msgspec.msgpack.Decoder(_list_of(GenericAlias(tuple, types))) for name, types in TABLES.items()},
    "events": msgspec.msgpack.Decoder(list[EventRecord]),
    "due": msgspec.msgpack.Decoder(list[Due]),
    "audit": msgspec.msgpack.Decoder(list[bytes]),
}


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class _Header(msgspec.Struct, frozen=True):
    """The scalars, and what the rows must amount to."""

    index: _Count
    time_ms: _Count
    revision: _Count
    active_epoch: _Count
    staged_epoch: _Count
    last_epoch: _Count
    root_requested: bool
    first_event: _Count
    access_revision: _Count
    audit_length: _Count
    audit_base: _Digest
    audit_head: _Digest
    sum: bytes
    audit_lines: _Count
    root_needed: bool = False  # absent from snapshots of before it


class SnapshotRejected(Exception):
    """A snapshot that this version cannot read; restore from a peer or upgrade this node."""

    code = "SNAPSHOT_REJECTED"


def snapshot(state: State) -> Iterator[bytes]:
    """The state at this moment as chunks, encoded while the iterator is consumed, on any thread.

    Takes a moment that does not grow with the tables, but for eight bytes copied per thing scheduled.
    """
    header = {name: getattr(state, name) for name in SCALARS}
    header |= {"format": FORMAT, "index": state.index, "time_ms": state.time_ms, "sum": state.total.to_bytes()}
    header["audit_lines"] = len(state.audit)
    captured: list[tuple[str, Iterator[Any]]] = [(name, getattr(state, name).capture()) for name in TABLES]
    captured += [
        ("events", iter(list(state.events))),
        ("due", iter(state.due.copy())),
        ("audit", iter(list(state.audit))),
    ]
    return _stream(header, captured)


def _stream(header: dict[str, Any], captured: list[tuple[str, Iterator[Any]]]) -> Iterator[bytes]:
    yield encode(header)
    for name, rows in captured:
        while some := list(islice(rows, ROWS)):
            yield encode((name, some))


def split(chunk: bytes, limit: int) -> Iterator[bytes]:
    """The chunk in chunks of at most `limit` bytes, in order; a row is never cut, whatever its size.

    What is no chunk of rows stays as it is, for `restore` to judge.
    """
    if len(chunk) <= limit:
        yield chunk
        return
    try:
        name, encoded = _chunks.decode(chunk)
        rows = _raw_rows.decode(encoded)
    except UNREADABLE:
        yield chunk
        return
    some: list[msgspec.Raw] = []
    size = 0
    for row in rows:
        if some and size + len(row) > limit - _CHUNK_OVERHEAD:
            yield encode((name, some))
            some, size = [], 0
        some.append(row)
        size += len(row)
    yield encode((name, some))


def restore(chunks: Iterable[bytes]) -> State:
    """The inverse of `snapshot`; raises `SnapshotRejected`."""
    state = State()
    iterator = iter(chunks)
    try:
        said = msgspec.msgpack.decode(next(iterator))
        if said["format"] != FORMAT:
            raise SnapshotRejected(f"snapshot format {said['format']}, this node reads {FORMAT}")
        header = msgspec.convert(said, _Header)
        for name in (*SCALARS, "index", "time_ms"):
            setattr(state, name, getattr(header, name))
        for chunk in iterator:
            name, encoded = _chunks.decode(chunk)
            rows = _rows[name].decode(encoded)
            if name != "audit":  # the chain's head, among the scalars, stands for its records
                state.total.add_encoded(prefix_of(name), _raw_rows.decode(encoded))
            if name in TABLES:
                getattr(state, name).fill(rows)
            else:
                getattr(state, name).extend(rows)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, StopIteration, RecursionError) as error:
        raise SnapshotRejected(f"snapshot cannot be read: {type(error).__name__}: {error}") from error
    if state.total.to_bytes() != header.sum or len(state.audit) != header.audit_lines:
        raise SnapshotRejected("the records of the snapshot are not those that its header counts")
    for names in (state.keys, state.tombstones):
        names.ordered()  # here, and not while the first listing holds everybody up
    return state


def digest(state: State) -> bytes:
    """SHA-256 (32 bytes) over the state without its clock and index: equal states have equal digests.

    Those two are left out because they also move with entries that change nothing. Quick at any size.
    """
    scalars = {name: getattr(state, name) for name in SCALARS}
    return hashlib.sha256(encode(scalars) + state.total.to_bytes()).digest()
