"""The ledger's tables, and the only ways in which rules change them.

A mutable container of frozen records. `revision` grows by one with every
command that changes something. `time_ms` is the latest time a leader stamped;
it never goes backwards. `index` is that of the last log entry with a command.
`total` is the sum over all records (see tables). The container orders nothing
itself: callers apply commands one after another.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from qkms.audit import MUTATIONS_GENESIS
from qkms_node.ledger.access_records import (
    AnchorRecord,
    AuditKeyRecord,
    GrantRecord,
    PolicyRecord,
    RoleRecord,
    TenantRecord,
)
from qkms_node.ledger.link_records import LinkAlarmRecord
from qkms_node.ledger.member_records import HandoverRecord, JoinTokenRecord, MemberRecord, MemberRole
from qkms_node.ledger.records import (
    EventRecord,
    EventType,
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
from qkms_node.ledger.tables import Queue, Sum, Table, prefix_of
from qkms_node.ledger.tallies import Names, Tally, key_tally, sae_key_tally, session_tally, version_tally

Due = tuple[int, str, str, int]  # (time_ms, kind, name, number)

EVENT_HISTORY = 10_000
REQUEST_MEMORY_MS = 24 * 3600 * 1000
SESSION_MEMORY_MS = 3600 * 1000
DISMANTLED_AT_ONCE = 1000
EVENTS, DUE = prefix_of("events"), prefix_of("due")


class Refusal(Exception):
    """A command that is refused: nothing has changed. Raised by rules, caught by `apply`."""

    def __init__(self, code: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.metadata = {name: str(value) for name, value in metadata.items()}


@dataclass
class State:
    """All that is replicated."""

    revision: int = 0
    index: int = 0
    time_ms: int = 0
    active_epoch: int = 0
    staged_epoch: int = 0
    last_epoch: int = 0
    # An operator asked for an epoch; the cluster itself needs one, for somebody else knows the active one.
    root_requested: bool = False
    root_needed: bool = False
    first_event: int = 1
    keys: Names[KeyRecord] = field(default_factory=key_tally)
    versions: Tally[tuple[str, int], VersionRecord] = field(default_factory=version_tally)
    roots: Table[int, RootRecord] = field(default_factory=Table)
    nodes: Table[str, NodeRecord] = field(default_factory=Table)
    sessions: Tally[str, SessionRecord] = field(default_factory=session_tally)
    sae_keys: Tally[str, SaeKeyRecord] = field(default_factory=sae_key_tally)
    requests: Queue[str, RequestRecord] = field(default_factory=Queue)
    qkd_key_epochs: Table[str, int] = field(default_factory=Table)
    members: Table[str, MemberRecord] = field(default_factory=Table)
    join_tokens: Table[str, JoinTokenRecord] = field(default_factory=Table)
    handovers: Table[str, HandoverRecord] = field(default_factory=Table)
    access_revision: int = 0
    policies: Table[str, PolicyRecord] = field(default_factory=Table)
    roles: Table[str, RoleRecord] = field(default_factory=Table)
    tenants: Table[str, TenantRecord] = field(default_factory=Table)
    grants: Table[str, GrantRecord] = field(default_factory=Table)
    audit_length: int = 0
    audit_base: bytes = MUTATIONS_GENESIS
    audit_head: bytes = MUTATIONS_GENESIS
    audit: deque[bytes] = field(default_factory=deque)
    audit_keys: Table[str, AuditKeyRecord] = field(default_factory=Table)
    anchors: Table[tuple[str, int], AnchorRecord] = field(default_factory=Table)
    events: deque[EventRecord] = field(default_factory=deque)
    due: list[Due] = field(default_factory=list)
    # Keys that were deleted: their names are never used again.
    tombstones: Names[KeyRecord] = field(default_factory=Names)
    # Staged versions, with the revision of their staging, of which a voter has not spoken yet.
    unconfirmed: Table[tuple[str, int], int] = field(default_factory=Table)
    # Keys whose rotation is due, with the time it fell due at.
    rotation_due: Table[str, int] = field(default_factory=Table)
    # Keys that prefer QKD and whose primary version, the number, was made under a root without.
    awaiting_qkd: Table[str, int] = field(default_factory=Table)
    # At most one: the refusal that stands, by the epoch that goes on.
    root_refusals: Table[int, RootRefusalRecord] = field(default_factory=Table)
    # Alarms of QKD links that are raised and change what keys get, by name.
    link_alarms: Table[str, LinkAlarmRecord] = field(default_factory=Table)
    wrappings: Table[str, WrappingRecord] = field(default_factory=Table)
    # At most one entry each: the present recovery key by its set id, the latest restore by its id.
    recovery: Table[str, RecoveryRecord] = field(default_factory=Table)
    restores: Table[str, RestoreRecord] = field(default_factory=Table)
    restore_parts: Table[int, bytes] = field(default_factory=Table)
    total: Sum = field(default_factory=Sum)

    def __post_init__(self) -> None:
        for name, value in self.tables():
            value.attach(name, self.total)

    def tables(self) -> Iterator[tuple[str, Table[Any, Any]]]:
        """The tables by name. Raises TypeError for a dict: no snapshot and no digest would see its changes."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, dict):
                raise TypeError(f"State.{one.name} is a dict; make it a Table")
            if isinstance(value, Table):
                yield one.name, value

    def key(self, key_id: str) -> KeyRecord:
        """The key, or the refusal KEY_NOT_FOUND or KEY_DELETED."""
        key = self.keys.get(key_id)
        if key is None:
            if key_id in self.tombstones:
                raise Refusal("KEY_DELETED", f"keys/{key_id} was deleted", name=f"keys/{key_id}")
            raise Refusal("KEY_NOT_FOUND", f"there is no key keys/{key_id}", name=f"keys/{key_id}")
        return key

    def version(self, key_id: str, version: int) -> VersionRecord:
        """The key version, or the refusal KEY_NOT_FOUND or VERSION_NOT_FOUND."""
        self.key(key_id)
        record = self.versions.get((key_id, version))
        if record is None:
            name = f"keys/{key_id}/versions/{version}"
            raise Refusal("VERSION_NOT_FOUND", f"there is no key version {name}", name=name)
        return record

    def session(self, session_id: str, principal: str) -> SessionRecord:
        """The session of which `principal` is an end, or the refusal SESSION_NOT_FOUND.

        A stranger gets the same answer as for a session that does not exist, and learns nothing.
        """
        record = self.sessions.get(session_id)
        if record is None or principal not in (record.initiator, record.responder):
            name = f"sessions/{session_id}"
            raise Refusal("SESSION_NOT_FOUND", f"there is no session {name}; it may have expired", name=name)
        return record

    def active_root(self) -> RootRecord:
        """The active root epoch, or the refusal ROOT_NOT_READY."""
        root = self.roots.get(self.active_epoch)
        if root is None:
            raise Refusal("ROOT_NOT_READY", "no root epoch is active yet; wait until the root is seeded")
        return root

    def emit(self, kind: EventType, name: str, version: int = 0, state: int = 0) -> None:
        """Adds an event at the revision that the command in hand will have."""
        event = EventRecord(self.revision + 1, kind, name, version, state, self.time_ms)
        self.events.append(event)
        self.total.add(EVENTS, event)
        while len(self.events) > EVENT_HISTORY:
            oldest = self.events.popleft()
            self.total.remove(EVENTS, oldest)
            self.first_event = oldest.revision + 1

    def schedule(self, time_ms: int, kind: str, name: str, number: int = 0) -> None:
        """Lets something happen when the leader's time reaches `time_ms`."""
        due = (time_ms, kind, name, number)
        heapq.heappush(self.due, due)
        self.total.add(DUE, due)

    def take_due(self) -> Due | None:
        """Takes out the earliest scheduled thing that has come due, if one has."""
        if not self.due or self.due[0][0] > self.time_ms:
            return None
        due = heapq.heappop(self.due)
        self.total.remove(DUE, due)
        return due

    def forget_history(self) -> None:
        """No event and nothing scheduled is left: another history begins after the next revision."""
        for event in self.events:
            self.total.remove(EVENTS, event)
        for due in self.due:
            self.total.remove(DUE, due)
        self.events.clear()
        self.due.clear()
        self.first_event = self.revision + 2

    def next_due_ms(self) -> int | None:
        """When the next scheduled thing is due, if anything is."""
        return self.due[0][0] if self.due else None

    def dismantle(self) -> Iterator[None]:
        """Frees a state that is no longer used, a small part at each step."""
        for _, table in self.tables():
            yield from table.dismantle()
        while self.due:
            del self.due[-DISMANTLED_AT_ONCE:]
            yield


def voters(state: State) -> set[str]:
    """Ids of the members that are meant to vote."""
    return {m.node_id for m in state.members.values() if m.role is MemberRole.VOTER}
