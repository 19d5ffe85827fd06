"""What commands do to keys as a whole: creation, rotation, changes of settings, deletion.

Every rule checks all its conditions before it changes anything, so that a
refusal leaves the state untouched. What happens to single versions is in
`version_rules`, the way of a staged one in `staging_rules`.
"""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade
from qkms_node.ledger.commands import (
    CreateKey,
    DeleteKey,
    DisableKey,
    EnableKey,
    KeyChanges,
    Outcome,
    RotateKey,
    UpdateKey,
)
from qkms_node.ledger.key_conditions import (
    PROPOSAL_STALE,
    new_version,
    public,
    require_enabled,
    require_grade,
    require_none_staged,
    require_primary,
    require_revision,
    require_unprotected,
)
from qkms_node.ledger.provenance_rules import Demands, demands_of, require_root, require_version
from qkms_node.ledger.records import EventType, KeyRecord, VersionRecord, VersionState
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.transitions import Step, next_state

ROTATE = "rotate"


def create_key(state: State, command: CreateKey) -> Outcome:
    """Adds a key with version 1 as its active primary version, or without any version."""
    name = f"keys/{command.key_id}"
    if command.key_id in state.keys or command.key_id in state.tombstones:
        was = (
            "was deleted, and its name is not used again"
            if command.key_id in state.tombstones
            else "exists already"
        )
        raise Refusal("KEY_EXISTS", f"{name} {was}; choose another key_id", name=name)
    version = None
    if command.new is not None:
        version = new_version(state, name, command.new, 1, command.required_grade, demands_of(command))
    key = KeyRecord(
        key_id=command.key_id,
        algorithm=command.algorithm,
        required_grade=command.required_grade,
        max_staleness_ms=command.max_staleness_ms,
        labels=command.labels,
        create_ms=state.time_ms,
        primary=0 if version is None else 1,
        version_count=0 if version is None else 1,
        revision=state.revision + 1,
        rotation_period_ms=command.rotation_period_ms,
        exportable=command.exportable,
        deletion_protection=command.deletion_protection,
        allow_compromised_decrypt=command.allow_compromised_decrypt,
        prefer_qkd=command.prefer_qkd,
        refuse_relays=command.refuse_relays,
        max_qber=command.max_qber,
    )
    if version is not None:
        state.versions[key.key_id, 1] = version
    key = state.keys[key.key_id] = with_next_rotation(state, key)
    _note_lack_of_qkd(state, key)
    number, first = (1, VersionState.ACTIVE) if version is not None else (0, 0)
    state.emit(EventType.KEY_CREATED, name, number, first)
    return Outcome(state.revision + 1, changed=True, key=key, version=version and public(version))


def rotate_key(state: State, command: RotateKey) -> Outcome:
    """Adds the next version, makes it primary, and leaves the old primary to decrypt."""
    key = state.key(command.key_id)
    if command.due_ms and state.rotation_due.get(key.key_id) != command.due_ms:
        raise Refusal(PROPOSAL_STALE, f"no rotation of keys/{key.key_id} is due since {command.due_ms}")
    if command.for_qkd and state.awaiting_qkd.get(key.key_id) != command.expected_primary:
        raise Refusal(PROPOSAL_STALE, f"version {command.expected_primary} of keys/{key.key_id} awaits no QKD")
    require_primary(key, command.expected_primary)
    require_enabled(key)
    require_none_staged(key)
    name = f"keys/{key.key_id}"
    number = key.version_count + 1
    version = new_version(state, name, command.new, number, key.required_grade, demands_of(key))
    if command.for_qkd:
        require_grade(name, version.grade, Grade.QKD)
    return make_primary(state, replace(key, version_count=version.version), version)


def make_primary(state: State, key: KeyRecord, version: VersionRecord) -> Outcome:
    """Makes an ACTIVE version the primary one in place of the present; all conditions were checked."""
    old = state.versions.get((key.key_id, key.primary))
    if old is not None:
        superseded = next_state(old.state, Step.SUPERSEDE)
        assert superseded is not None, f"a primary version is never {old.state.name}"
        state.versions[key.key_id, old.version] = replace(old, state=superseded)
        state.unconfirmed.pop((key.key_id, old.version), None)
    state.versions[key.key_id, version.version] = version
    key = with_next_rotation(state, replace(key, primary=version.version, staged=0))
    _note_lack_of_qkd(state, key)
    key = state.keys[key.key_id] = replace(key, revision=state.revision + 1)
    state.emit(EventType.KEY_ROTATED, f"keys/{key.key_id}", version.version, VersionState.ACTIVE)
    return Outcome(state.revision + 1, changed=True, key=key, version=public(version))


def update_key(state: State, command: UpdateKey) -> Outcome:
    """Sets the fields that the command names; fields that hold their value already change nothing."""
    key = state.key(command.key_id)
    require_revision(key, command.expected_revision)
    changes = command.changes
    _check_changes(state, key, changes)
    given = {f: v for f in changes.__struct_fields__ if (v := getattr(changes, f)) is not None}
    changed: KeyRecord = replace(key, **given)
    if changed == key:
        return Outcome(state.revision, note="already so", key=key)
    if changed.max_staleness_ms < key.max_staleness_ms:
        # A node that was cut off before it heard of the new bound goes by the old one.
        until = max(key.stale_until_ms, state.time_ms + key.max_staleness_ms)
        changed = replace(changed, stale_until_ms=until)
    _note_lack_of_qkd(state, changed)
    return touch(state, with_next_rotation(state, changed))


def disable_key(state: State, command: DisableKey) -> Outcome:
    """Stops every use of a key; its versions keep their states."""
    key = state.key(command.key_id)
    if key.disabled:
        return Outcome(state.revision, note="already disabled", key=key)
    return touch(state, replace(key, disabled=True))


def enable_key(state: State, command: EnableKey) -> Outcome:
    """Lets a key be used again."""
    key = state.key(command.key_id)
    if not key.disabled:
        return Outcome(state.revision, note="already enabled", key=key)
    return touch(state, replace(key, disabled=False))


def delete_key(state: State, command: DeleteKey) -> Outcome:
    """Replaces a key whose material is all erased by a tombstone that keeps its name taken."""
    key = state.key(command.key_id)
    require_revision(key, command.expected_revision)
    require_unprotected(key)
    numbers = range(1, key.version_count + 1)
    left = [n for n in numbers if state.versions[key.key_id, n].state is not VersionState.DESTROYED]
    if left:
        raise Refusal(
            "KEY_HAS_VERSIONS",
            f"keys/{key.key_id} has {len(left)} versions that are not destroyed, the first is {left[0]}; "
            "destroy them and wait for their grace to end",
            versions=len(left),
            first=left[0],
        )
    tombstone = replace(key, delete_ms=state.time_ms, next_rotation_ms=0, revision=state.revision + 1)
    state.tombstones[key.key_id] = tombstone
    del state.keys[key.key_id]
    for number in numbers:
        del state.versions[key.key_id, number]
    state.rotation_due.pop(key.key_id, None)
    state.awaiting_qkd.pop(key.key_id, None)
    state.wrappings.pop(key.key_id, None)
    state.emit(EventType.KEY_DELETED, f"keys/{key.key_id}")
    return Outcome(state.revision + 1, changed=True, key=tombstone)


def rotation_falls_due(state: State, key_id: str, due_ms: int) -> bool:
    """Notes that the leader is to rotate the key; False for a time that was changed since."""
    key = state.keys.get(key_id)
    if key is None or key.next_rotation_ms != due_ms or state.rotation_due.get(key_id) == due_ms:
        return False
    state.rotation_due[key_id] = due_ms
    return True


def with_next_rotation(state: State, key: KeyRecord) -> KeyRecord:
    """The key with its next rotation a period after the activation of its primary version."""
    primary = state.versions.get((key.key_id, key.primary))
    due_ms = primary.activate_ms + key.rotation_period_ms if primary is not None and key.rotation_period_ms else 0
    if due_ms == key.next_rotation_ms:
        return key
    state.rotation_due.pop(key.key_id, None)
    if due_ms:
        state.schedule(due_ms, ROTATE, key.key_id)
    return replace(key, next_rotation_ms=due_ms)


def touch(state: State, key: KeyRecord) -> Outcome:
    """Stores a key whose settings changed."""
    key = state.keys[key.key_id] = replace(key, revision=state.revision + 1)
    state.emit(EventType.KEY_UPDATED, f"keys/{key.key_id}")
    return Outcome(state.revision + 1, changed=True, key=key)


def _note_lack_of_qkd(state: State, key: KeyRecord) -> None:
    """Notes whether the leader is to rotate the key once the root has QKD. Imported material is left alone."""
    primary = state.versions.get((key.key_id, key.primary))
    lacks = key.prefer_qkd and primary is not None and primary.grade is Grade.PQC
    if lacks:
        state.awaiting_qkd[key.key_id] = key.primary
    else:
        state.awaiting_qkd.pop(key.key_id, None)


def _check_changes(state: State, key: KeyRecord, changes: KeyChanges) -> None:
    for bound, number in (("min_decrypt", changes.min_decrypt), ("min_encrypt", changes.min_encrypt)):
        if number is not None and number > key.primary:
            raise Refusal(
                "MIN_VERSION_TOO_HIGH",
                f"{bound}_version {number} is above {key.primary}, the primary version of keys/{key.key_id}; "
                "rotate the key first",
                actual=key.primary,
            )
    primary = state.versions.get((key.key_id, key.primary))
    if changes.required_grade and primary is not None:
        require_grade(f"keys/{key.key_id}", primary.grade, changes.required_grade)
    demanded = _demanded_anew(key, changes)
    # Also for a key without versions there: a batch of rewrapping that was proposed before this command may be
    # in the log behind it, with a version of this key that is then not moved, and yet was written.
    active = state.roots.get(state.active_epoch)
    if active is not None:
        require_root(f"keys/{key.key_id}", active, demanded)
    if primary is not None:
        require_version(state, f"keys/{key.key_id}", primary, demanded)


def _demanded_anew(key: KeyRecord, changes: KeyChanges) -> Demands:
    """What a key is to demand that it did not demand before."""
    max_qber = changes.max_qber or 0.0
    lowered = max_qber < key.max_qber or not key.max_qber
    return Demands(bool(changes.refuse_relays) and not key.refuse_relays, max_qber if lowered else 0.0)
