"""What commands do to keys and their versions.

Every rule checks all its conditions before it changes anything, so that a
refusal leaves the state untouched.
"""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade, satisfies
from qkms_node.ledger.commands import (
    CreateKey,
    DestroyVersion,
    DisableVersion,
    EnableVersion,
    NewVersion,
    Outcome,
    RestoreVersion,
    RotateKey,
)
from qkms_node.ledger.records import EpochState, EventType, KeyRecord, RootRecord, VersionRecord, VersionState
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.transitions import Step, next_state

DESTROY = "destroy"

# The proposer drew its material for a state that has moved on. Never shown to
# a caller: the service draws again from the present state.
PROPOSAL_STALE = "PROPOSAL_STALE"


def create_key(state: State, command: CreateKey) -> Outcome:
    """Adds a key with version 1 as its active primary version."""
    name = f"keys/{command.key_id}"
    if command.key_id in state.keys:
        raise Refusal("KEY_EXISTS", f"{name} exists already; choose another key_id", name=name)
    version = _new_version(state, name, command.new, expected=1, required_grade=command.required_grade)
    key = KeyRecord(
        key_id=command.key_id,
        algorithm=command.algorithm,
        required_grade=command.required_grade,
        max_staleness_ms=command.max_staleness_ms,
        labels=command.labels,
        create_ms=state.time_ms,
        primary=1,
        version_count=1,
        revision=state.revision + 1,
    )
    state.keys[key.key_id] = key
    state.versions[key.key_id, 1] = version
    state.emit(EventType.KEY_CREATED, name, 1, VersionState.ACTIVE)
    return Outcome(state.revision + 1, changed=True, key=key, version=_public(version))


def rotate_key(state: State, command: RotateKey) -> Outcome:
    """Adds the next version, makes it primary, and leaves the old primary to decrypt."""
    key = state.key(command.key_id)
    name = f"keys/{key.key_id}"
    if key.primary != command.expected_primary:
        raise Refusal(
            "VERSION_CONFLICT",
            f"the primary version of {name} is {key.primary}, not {command.expected_primary}; "
            "read the key and decide again",
            expected=command.expected_primary,
            actual=key.primary,
        )
    version = _new_version(state, name, command.new, key.version_count + 1, key.required_grade)
    old = state.versions[key.key_id, key.primary]
    superseded = next_state(old.state, Step.SUPERSEDE)
    if superseded is None:
        raise Refusal("ILLEGAL_TRANSITION", f"the primary version of {name} is {old.state.name}")
    state.versions[key.key_id, old.version] = replace(old, state=superseded)
    state.versions[key.key_id, version.version] = version
    rotated = replace(key, primary=version.version, version_count=version.version, revision=state.revision + 1)
    state.keys[key.key_id] = rotated
    state.emit(EventType.KEY_ROTATED, name, version.version, VersionState.ACTIVE)
    return Outcome(state.revision + 1, changed=True, key=rotated, version=_public(version))


def disable_version(state: State, command: DisableVersion) -> Outcome:
    """Suspends a version; a suspended one stays so."""
    return _step(state, command.key_id, command.version, Step.DISABLE)


def enable_version(state: State, command: EnableVersion) -> Outcome:
    """Takes a suspension back: the primary becomes ACTIVE, any other DEACTIVATED."""
    primary = state.key(command.key_id).primary == command.version
    return _step(state, command.key_id, command.version, Step.ENABLE_PRIMARY if primary else Step.ENABLE)


def destroy_version(state: State, command: DestroyVersion) -> Outcome:
    """Schedules erasure at now + grace. Repeated: the first schedule stands."""
    key = state.key(command.key_id)
    version = state.version(command.key_id, command.version)
    if key.primary == command.version:
        raise Refusal(
            "VERSION_IS_PRIMARY",
            f"version {command.version} is the primary version of keys/{key.key_id}; rotate the key first",
        )
    if version.state is VersionState.DESTROY_SCHEDULED:
        return Outcome(state.revision, note="already scheduled", key=key, version=_public(version))
    destroy_ms = state.time_ms + command.grace_ms
    outcome = _step(state, command.key_id, command.version, Step.SCHEDULE_DESTROY, destroy_ms=destroy_ms)
    state.schedule(destroy_ms, DESTROY, command.key_id, command.version)
    return outcome


def restore_version(state: State, command: RestoreVersion) -> Outcome:
    """Takes a scheduled destruction back; the version is then suspended."""
    return _step(state, command.key_id, command.version, Step.RESTORE, destroy_ms=0)


def erase_due(state: State, key_id: str, number: int, due_ms: int) -> bool:
    """Erases the wrapped material of a version whose grace has ended; True if it did.

    A version restored meanwhile, or scheduled anew for a later time, is left.
    """
    version = state.versions[key_id, number]
    if version.state is not VersionState.DESTROY_SCHEDULED or version.destroy_ms != due_ms:
        return False
    state.versions[key_id, number] = replace(
        version, state=VersionState.DESTROYED, wrapped=b"", check_value=b"", public_key=b""
    )
    state.keys[key_id] = replace(state.keys[key_id], revision=state.revision + 1)
    state.emit(EventType.VERSION_STATE_CHANGED, f"keys/{key_id}", number, VersionState.DESTROYED)
    return True


def _new_version(state: State, name: str, new: NewVersion, expected: int, required_grade: int) -> VersionRecord:
    if new.version != expected:
        raise Refusal(PROPOSAL_STALE, f"the next version of {name} is {expected}, not {new.version}")
    root = _usable_root(state, new.epoch)
    if not satisfies(root.grade, Grade(required_grade) if required_grade else None):
        raise Refusal(
            "GRADE_TOO_LOW",
            f"root epoch {root.epoch} has grade {root.grade.name}, {name} requires "
            f"{Grade(required_grade).name}; wait for an epoch of that grade",
            grade=root.grade.name,
            required=Grade(required_grade).name,
        )
    return VersionRecord(
        version=new.version,
        state=VersionState.ACTIVE,
        grade=root.grade,
        epoch=root.epoch,
        wrapped=new.wrapped,
        check_value=new.check_value,
        create_ms=state.time_ms,
        activate_ms=state.time_ms,
        public_key=new.public_key,
    )


def _usable_root(state: State, epoch: int) -> RootRecord:
    root = state.roots.get(epoch)
    if root is None or root.state is not EpochState.ACTIVE:
        raise Refusal(PROPOSAL_STALE, f"root epoch {epoch} is not the active one, {state.active_epoch}")
    return root


def _step(state: State, key_id: str, number: int, step: Step, destroy_ms: int | None = None) -> Outcome:
    key = state.key(key_id)
    version = state.version(key_id, number)
    target = next_state(version.state, step)
    name = f"keys/{key_id}/versions/{number}"
    if target is None:
        raise Refusal(
            "ILLEGAL_TRANSITION",
            f"{name} is {version.state.name}: cannot {step.value.replace('_', ' ')}",
            state=version.state.name,
        )
    if target is version.state:
        return Outcome(state.revision, note=f"already {target.name}", key=key, version=_public(version))
    changed = replace(version, state=target, destroy_ms=version.destroy_ms if destroy_ms is None else destroy_ms)
    state.versions[key_id, number] = changed
    touched = replace(key, revision=state.revision + 1)
    state.keys[key_id] = touched
    state.emit(EventType.VERSION_STATE_CHANGED, f"keys/{key_id}", number, target)
    return Outcome(state.revision + 1, changed=True, key=touched, version=_public(changed))


def _public(version: VersionRecord) -> VersionRecord:
    return replace(version, wrapped=b"", check_value=b"", public_key=b"")
