"""What commands do to single versions: disabling, compromise, destruction.

Which step a state allows is in `transitions`; a step that leads to the state
a version is in already is a repetition, changes nothing and says so.
"""

from msgspec.structs import replace

from qkms_node.ledger.commands import (
    CompromiseVersion,
    DestroyVersion,
    DisableVersion,
    EnableVersion,
    Outcome,
    RestoreVersion,
)
from qkms_node.ledger.key_conditions import public, require_unprotected
from qkms_node.ledger.records import EventType, KeyRecord, VersionRecord, VersionState
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.transitions import Step, next_state

DESTROY = "destroy"


def disable_version(state: State, command: DisableVersion) -> Outcome:
    """Suspends a version; a suspended one stays so."""
    return _step(state, command.key_id, command.version, Step.DISABLE)


def enable_version(state: State, command: EnableVersion) -> Outcome:
    """Takes a suspension back: the primary becomes ACTIVE, any other DEACTIVATED."""
    primary = state.key(command.key_id).primary == command.version
    return _step(state, command.key_id, command.version, Step.ENABLE_PRIMARY if primary else Step.ENABLE)


def compromise_version(state: State, command: CompromiseVersion) -> Outcome:
    """Marks a version as compromised, for good. One whose destruction is scheduled keeps its schedule."""
    key = state.key(command.key_id)
    version = state.version(command.key_id, command.version)
    target = allowed(key, version, Step.COMPROMISE)
    if version.compromise_ms:
        return Outcome(state.revision, note="already compromised", key=key, version=public(version))
    if version.state is VersionState.PRE_ACTIVATION:
        key = end_staging(state, key, version)
    marked = replace(version, state=target, compromise_ms=state.time_ms, reason=command.reason)
    return store(state, key, marked)


def destroy_version(state: State, command: DestroyVersion) -> Outcome:
    """Schedules erasure at now + grace. Repeated: the first schedule stands."""
    key = state.key(command.key_id)
    version = state.version(command.key_id, command.version)
    if key.primary == version.version and version.state is VersionState.ACTIVE:
        raise Refusal(
            "VERSION_IS_PRIMARY",
            f"version {version.version} is the primary version of keys/{key.key_id}; rotate the key first, "
            "or disable this version if nothing is to be encrypted any more",
        )
    require_unprotected(key)
    destroy_ms = state.time_ms + command.grace_ms
    outcome = _step(state, command.key_id, command.version, Step.SCHEDULE_DESTROY, destroy_ms=destroy_ms)
    if outcome.changed:
        state.schedule(destroy_ms, DESTROY, command.key_id, command.version)
    return outcome


def restore_version(state: State, command: RestoreVersion) -> Outcome:
    """Takes a scheduled destruction back: the version is then suspended, or compromised if it was."""
    compromised = state.version(command.key_id, command.version).compromise_ms
    step = Step.RESTORE_COMPROMISED if compromised else Step.RESTORE
    return _step(state, command.key_id, command.version, step, destroy_ms=0)


def erase_due(state: State, key_id: str, number: int, due_ms: int) -> bool:
    """Erases the wrapped material of a version whose grace has ended; True if it did.

    A version restored meanwhile, or scheduled anew for a later time, is left.
    """
    version = state.versions.get((key_id, number))
    if version is None or version.state is not VersionState.DESTROY_SCHEDULED or version.destroy_ms != due_ms:
        return False
    erase(state, state.keys[key_id], version, Step.ERASE)
    return True


def erase(state: State, key: KeyRecord, version: VersionRecord, step: Step) -> Outcome:
    """Erases a version's material; the number stays taken."""
    target = next_state(version.state, step)
    assert target is VersionState.DESTROYED
    state.unconfirmed.pop((key.key_id, version.version), None)
    return store(state, key, replace(version, state=target, wrapped=b"", check_value=b"", public_key=b""))


def end_staging(state: State, key: KeyRecord, version: VersionRecord) -> KeyRecord:
    """The key without its staged version, whose evidence is no longer collected."""
    state.unconfirmed.pop((key.key_id, version.version), None)
    return replace(key, staged=0)


def store(state: State, key: KeyRecord, version: VersionRecord) -> Outcome:
    """Stores a version in a new state, and its key at the new revision."""
    state.versions[key.key_id, version.version] = version
    touched = state.keys[key.key_id] = replace(key, revision=state.revision + 1)
    state.emit(EventType.VERSION_STATE_CHANGED, f"keys/{key.key_id}", version.version, version.state)
    return Outcome(state.revision + 1, changed=True, key=touched, version=public(version))


def allowed(key: KeyRecord, version: VersionRecord, step: Step) -> VersionState:
    """The state after `step`, or the refusal ILLEGAL_TRANSITION."""
    target = next_state(version.state, step)
    if target is None:
        raise Refusal(
            "ILLEGAL_TRANSITION",
            f"keys/{key.key_id}/versions/{version.version} is {version.state.name}: "
            f"cannot {step.value.replace('_', ' ')}",
            state=version.state.name,
        )
    return target


def _step(state: State, key_id: str, number: int, step: Step, destroy_ms: int | None = None) -> Outcome:
    key = state.key(key_id)
    version = state.version(key_id, number)
    target = allowed(key, version, step)
    if target is version.state:
        return Outcome(state.revision, note=f"already {target.name}", key=key, version=public(version))
    due_ms = version.destroy_ms if destroy_ms is None else destroy_ms
    return store(state, key, replace(version, state=target, destroy_ms=due_ms))
