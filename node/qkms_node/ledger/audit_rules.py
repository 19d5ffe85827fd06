"""The audit of mutations: one record for each effect, linked, in a bounded window.

Written in the same entry as the effect, so that no crash separates the two.
The head is kept for ever; records that leave the window have been written to
every node's disk before (service.spool). The format is qkms.audit's.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from qkms.audit import Head, append, head_of
from qkms_node.ledger.access_records import AnchorRecord, AuditKeyRecord
from qkms_node.ledger.commands import (
    AnchorAudit,
    AnyCommand,
    Asked,
    CollectSaeKeys,
    DrawSaeKeys,
    Outcome,
    RegisterAuditKey,
    ReportLinkAlarm,
)
from qkms_node.ledger.link_records import alarm_name
from qkms_node.ledger.records import EventType
from qkms_node.ledger.state import Refusal, State

AUDIT_HISTORY = 10_000
ANCHORS_KEPT = 32

CLUSTER = "cluster"
"""The principal of what nodes do of themselves."""
CLOCK = "clock"
"""The principal of what happens because its time has come."""

# What a command is about, by the field that says so; the first that a command has counts.
_COLLECTIONS = (
    ("audit_key_id", "auditKeys"),
    ("key_id", "keys"),
    ("session_id", "sessions"),
    ("policy_id", "policies"),
    ("role_id", "roles"),
    ("tenant_id", "tenants"),
    ("grant_id", "grants"),
    ("epoch", "rootEpochs"),
    ("expected_epoch", "rootEpochs"),
    ("node_id", "nodes"),
    ("target", "nodes"),
)
# What a scheduled thing is about, by a word of its kind; else keys.
_DUE = (("session", "sessions"), ("sae_key", "saeKeys"), ("grant", "grants"), ("token", "nodes"))


_OF_ROOTS = frozenset(
    {EventType.QKD_FELL_BACK, EventType.QKD_RESUMED, EventType.ROOT_RELAYED, EventType.ROOT_QBER_RAISED}
)


def record_effect(state: State, command: AnyCommand) -> None:
    """Adds the record of a command that changed something, at the revision it will have."""
    request = command.request if isinstance(command, Asked) else None
    _add(
        state,
        principal=request.principal if request else CLUSTER,
        method=str(command.__struct_config__.tag),
        resource=resource_of(command),
        request_id=request.request_id if request else "",
    )


def record_root_change(state: State) -> None:
    """Adds a record, at the same revision, when the command made the cluster do without QKD, or with it again, or
    an epoch in use name more relays or a higher QBER."""
    for event in reversed(state.events):
        if event.revision <= state.revision:
            break
        if event.type in _OF_ROOTS:
            _add(state, principal=CLUSTER, method=event.type.name.lower(), resource=event.name, request_id="")


def record_due(state: State, kind: str, name: str, number: int) -> None:
    """Adds the record of something scheduled that happened."""
    collection = next((c for word, c in _DUE if word in kind), "keys")
    resource = f"{collection}/{name}/versions/{number}" if number else f"{collection}/{name}"
    _add(state, principal=CLOCK, method=kind, resource=resource, request_id="")


def resource_of(command: AnyCommand) -> str:
    """The name of what a command is about; empty when no field says so."""
    if isinstance(command, AnchorAudit):
        anchor = command.anchor
        # With its head: whoever rewrites a chain of calls must rewrite this one too.
        return f"auditAnchors/{anchor.node_id}/{anchor.length}/{anchor.head.hex()}"
    if isinstance(command, ReportLinkAlarm):
        alarm = alarm_name(command.node_id, command.peer_node_id, command.alarm)
        return f"{alarm}/{command.severity.name.lower()}"
    if isinstance(command, DrawSaeKeys):
        return _sae_keys([new.key_id for new in command.new_keys])
    if isinstance(command, CollectSaeKeys):
        return _sae_keys(command.key_ids)
    for field, collection in _COLLECTIONS:
        name = getattr(command, field, None)
        if name is not None:
            version = getattr(command, "version", None)
            suffix = f"/versions/{version}" if field == "key_id" and isinstance(version, int) else ""
            return f"{collection}/{name}{suffix}"
    return ""


def _sae_keys(key_ids: Sequence[str]) -> str:
    """The first, and how many more: a record has a bound, and the calls' log has every key_ID."""
    more = f"+{len(key_ids) - 1}" if len(key_ids) > 1 else ""
    return f"saeKeys/{key_ids[0]}{more}"


def register_audit_key(state: State, command: RegisterAuditKey) -> Outcome:
    """Records the public halves of a node's audit key; repeated, nothing changes."""
    if command.audit_key_id in state.audit_keys:
        return Outcome(state.revision, note="already registered")
    state.audit_keys[command.audit_key_id] = AuditKeyRecord(
        command.audit_key_id, command.node_id, command.ed25519_public, command.mldsa65_public, state.time_ms
    )
    return Outcome(state.revision + 1, changed=True)


def anchor_audit(state: State, command: AnchorAudit) -> Outcome:
    """Keeps a signed head of a node's calls; one behind an anchor that there is shows a chain cut off."""
    anchor = command.anchor
    key = state.audit_keys.get(anchor.key_id)
    if key is None or key.node_id != anchor.node_id:
        raise Refusal("AUDIT_KEY_UNKNOWN", f"{anchor.key_id} is no audit key of {anchor.node_id}")
    lengths = [length for key_id, length in state.anchors if key_id == anchor.key_id]
    last = max(lengths, default=0)
    known = state.anchors.get((anchor.key_id, anchor.length))
    if anchor.length < last or (known is not None and known.head != anchor.head):
        raise Refusal(
            "AUDIT_BROKEN",
            f"node {anchor.node_id} anchored {last} records of its calls before; it was cut off or replaced",
            anchored=last,
            offered=anchor.length,
        )
    if known is not None:
        return Outcome(state.revision, note="already anchored", anchor=known)
    kept = replace(anchor, time_ms=state.time_ms, revision=state.revision + 1)
    state.anchors[anchor.key_id, anchor.length] = kept
    if len(lengths) >= ANCHORS_KEPT:
        del state.anchors[anchor.key_id, min(lengths)]
    return Outcome(state.revision + 1, changed=True, anchor=kept)


def last_anchor(state: State, key_id: str) -> AnchorRecord | None:
    """The latest anchor under an audit key."""
    found = [anchor for (owner, _), anchor in state.anchors.items() if owner == key_id]
    return max(found, key=lambda anchor: anchor.length, default=None)


def _add(state: State, *, principal: str, method: str, resource: str, request_id: str) -> None:
    fields = {
        "revision": state.revision + 1,
        "time_ms": state.time_ms,
        "principal": principal,
        "method": method,
        "resource": resource,
        "request_id": request_id,
        "code": "OK",
    }
    line, head = append(Head(state.audit_length, state.audit_head), fields)
    state.audit.append(line)
    state.audit_length, state.audit_head = head.length, head.digest
    while len(state.audit) > AUDIT_HISTORY:
        state.audit_base = head_of(state.audit.popleft()).digest
