"""The ledger's tables, and the only ways in which rules change them.

A mutable container of frozen records. `revision` grows by one with every
command that changes something. `time_ms` is the latest time a leader stamped;
it never goes backwards. The container orders nothing itself: callers apply
commands one after another.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

from qkms.audit import MUTATIONS_GENESIS
from qkms_node.ledger.access_records import (
    AnchorRecord,
    AuditKeyRecord,
    GrantRecord,
    PolicyRecord,
    RoleRecord,
    TenantRecord,
)
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
    SessionRecord,
    VersionRecord,
    WrappingRecord,
)
from qkms_node.ledger.tallies import Tally, key_tally, session_tally, version_tally

EVENT_HISTORY = 10_000
REQUEST_MEMORY_MS = 24 * 3600 * 1000
SESSION_MEMORY_MS = 3600 * 1000


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
    time_ms: int = 0
    active_epoch: int = 0
    staged_epoch: int = 0
    last_epoch: int = 0
    root_requested: bool = False
    first_event: int = 1
    keys: Tally[str, KeyRecord] = field(default_factory=key_tally)
    versions: Tally[tuple[str, int], VersionRecord] = field(default_factory=version_tally)
    roots: dict[int, RootRecord] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    sessions: Tally[str, SessionRecord] = field(default_factory=session_tally)
    requests: dict[str, RequestRecord] = field(default_factory=dict)
    qkd_key_epochs: dict[str, int] = field(default_factory=dict)
    members: dict[str, MemberRecord] = field(default_factory=dict)
    join_tokens: dict[str, JoinTokenRecord] = field(default_factory=dict)
    handovers: dict[str, HandoverRecord] = field(default_factory=dict)
    access_revision: int = 0
    policies: dict[str, PolicyRecord] = field(default_factory=dict)
    roles: dict[str, RoleRecord] = field(default_factory=dict)
    tenants: dict[str, TenantRecord] = field(default_factory=dict)
    grants: dict[str, GrantRecord] = field(default_factory=dict)
    audit_length: int = 0
    audit_base: bytes = MUTATIONS_GENESIS
    audit_head: bytes = MUTATIONS_GENESIS
    audit: deque[bytes] = field(default_factory=deque)
    audit_keys: dict[str, AuditKeyRecord] = field(default_factory=dict)
    anchors: dict[tuple[str, int], AnchorRecord] = field(default_factory=dict)
    events: deque[EventRecord] = field(default_factory=deque)
    due: list[tuple[int, str, str, int]] = field(default_factory=list)
    # Keys that were deleted: their names are never used again.
    tombstones: dict[str, KeyRecord] = field(default_factory=dict)
    # Staged versions, with the revision of their staging, of which a voter has not spoken yet.
    unconfirmed: dict[tuple[str, int], int] = field(default_factory=dict)
    # Keys whose rotation is due, with the time it fell due at.
    rotation_due: dict[str, int] = field(default_factory=dict)
    wrappings: dict[str, WrappingRecord] = field(default_factory=dict)
    # At most one entry each: the present recovery key by its set id, the latest restore by its id.
    recovery: dict[str, RecoveryRecord] = field(default_factory=dict)
    restores: dict[str, RestoreRecord] = field(default_factory=dict)
    restore_parts: dict[int, bytes] = field(default_factory=dict)

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
        self.events.append(EventRecord(self.revision + 1, kind, name, version, state, self.time_ms))
        while len(self.events) > EVENT_HISTORY:
            self.first_event = self.events.popleft().revision + 1

    def schedule(self, time_ms: int, kind: str, name: str, number: int = 0) -> None:
        """Lets something happen when the leader's time reaches `time_ms`."""
        heapq.heappush(self.due, (time_ms, kind, name, number))

    def next_due_ms(self) -> int | None:
        """When the next scheduled thing is due, if anything is."""
        return self.due[0][0] if self.due else None


def voters(state: State) -> set[str]:
    """Ids of the members that are meant to vote."""
    return {m.node_id for m in state.members.values() if m.role is MemberRole.VOTER}
