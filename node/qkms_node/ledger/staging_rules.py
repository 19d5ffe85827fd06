"""The way of a staged version: stage or import, evidence of the voters, validate, activate, abort.

    stage ----> every voter opens it: ConfirmVersion  --quorum, validate--> activate: primary
        \\                        \\--- RejectVersion: erased
         \\--- abort: erased

At most one version of a key is staged. It is never used before activation.
Activation waits until every cache from before the staging has lapsed, so that
no node that still serves has not heard of the version; a key without a
primary version was never used, and does not wait.
"""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade
from qkms_node.ledger.commands import (
    AbortVersion,
    ActivateVersion,
    ConfirmVersion,
    ImportVersion,
    NewVersion,
    OpenImport,
    Outcome,
    RejectVersion,
    StageVersion,
    ValidateVersion,
)
from qkms_node.ledger.key_conditions import (
    new_version,
    public,
    require_enabled,
    require_grade,
    require_none_staged,
    require_primary,
    usable_root,
)
from qkms_node.ledger.key_rules import make_primary
from qkms_node.ledger.provenance_rules import (
    demands_of,
    provenance_of,
    provenance_of_root,
    require_root,
    require_version,
)
from qkms_node.ledger.records import (
    KeyRecord,
    RootRecord,
    StagingRecord,
    VersionRecord,
    VersionState,
    WrappingRecord,
)
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.transitions import Step
from qkms_node.ledger.version_rules import allowed, end_staging, erase, store

EXPIRE_IMPORT = "expire_import"


def stage_version(state: State, command: StageVersion) -> Outcome:
    """Adds the next version, which waits for activation."""
    return _stage(state, state.key(command.key_id), command.new, command.voters)


def open_import(state: State, command: OpenImport) -> Outcome:
    """Keeps a wrapping key until it is used, replaced or expired."""
    key = state.key(command.key_id)
    require_enabled(key)
    root = usable_root(state, command.epoch)
    require_root(f"keys/{key.key_id}", root, demands_of(key))
    wrapping = WrappingRecord(
        key_id=key.key_id,
        import_id=command.import_id,
        method=command.method,
        public=command.public,
        epoch=root.epoch,
        sealed=command.sealed,
        create_ms=state.time_ms,
        expire_ms=state.time_ms + command.ttl_ms,
    )
    state.wrappings[key.key_id] = wrapping
    state.schedule(wrapping.expire_ms, EXPIRE_IMPORT, key.key_id)
    return Outcome(state.revision + 1, changed=True, key=key, wrapping=replace(wrapping, sealed=b""))


def import_version(state: State, command: ImportVersion) -> Outcome:
    """Stages material from outside; its wrapping key is used up. Its grade is IMPORTED."""
    key = state.key(command.key_id)
    # Whoever had the root of its epoch could have read what is brought in.
    under = state.roots[wrapping(state, key.key_id, command.import_id).epoch]
    require_root(f"keys/{key.key_id}", under, demands_of(key))
    outcome = _stage(state, key, command.new, command.voters, under)
    del state.wrappings[key.key_id]
    return outcome


def wrapping(state: State, key_id: str, import_id: str) -> WrappingRecord:
    """The wrapping key of an import, or the refusal IMPORT_NOT_FOUND."""
    known = state.wrappings.get(key_id)
    if known is None or known.import_id != import_id:
        name = f"keys/{key_id}/imports/{import_id}"
        raise Refusal(
            "IMPORT_NOT_FOUND",
            f"there is no {name}: it was used, replaced or has expired; get new import parameters",
            name=name,
        )
    return known


def expire_import(state: State, key_id: str, due_ms: int) -> bool:
    """Drops a wrapping key that was not used in time; True if there was one."""
    known = state.wrappings.get(key_id)
    if known is None or known.expire_ms != due_ms:
        return False
    del state.wrappings[key_id]
    return True


def confirm_version(state: State, command: ConfirmVersion) -> Outcome:
    """Records a voter's evidence, also after activation; the same again changes nothing."""
    key, version, staging = _witnessed(state, command)
    if command.node_id in staging.confirmed or (key.key_id, version.version) not in state.unconfirmed:
        return Outcome(state.revision, note="already settled", key=key, version=public(version))
    if command.revision < staging.revision:
        raise Refusal("EVIDENCE_REFUSED", f"node {command.node_id} has not applied the staging yet")
    if command.check_value != version.check_value:
        raise Refusal("EVIDENCE_REFUSED", f"node {command.node_id} found another check value: it is to reject")
    # In the order of the names, not of arrival: evidence reads the same whoever came first.
    confirmed = dict(sorted({**staging.confirmed, command.node_id: command.revision}.items()))
    return _record(state, key, version, replace(staging, confirmed=confirmed))


def reject_version(state: State, command: RejectVersion) -> Outcome:
    """A voter cannot open a staged version: it is erased with the reason.

    One that is active meanwhile stays, since a quorum can open it; the evidence says who cannot.
    """
    key, version, staging = _witnessed(state, command)
    if version.state is VersionState.PRE_ACTIVATION:
        return _abort(state, key, version, f"{command.node_id}: {command.reason}")
    if command.node_id in staging.rejected or (key.key_id, version.version) not in state.unconfirmed:
        return Outcome(state.revision, note="already settled", key=key, version=public(version))
    rejected = dict(sorted({**staging.rejected, command.node_id: command.reason}.items()))
    return _record(state, key, version, replace(staging, rejected=rejected))


def validate_version(state: State, command: ValidateVersion) -> Outcome:
    """Declares a staged version valid: a quorum of its voters opened it, its grade is what the key requires."""
    key = state.key(command.key_id)
    version = state.version(key.key_id, command.version)
    allowed(key, version, Step.ACTIVATE)
    staging = version.staging
    assert staging is not None
    if staging.validate_ms:
        return Outcome(state.revision, note="already validated", key=key, version=public(version))
    require_grade(f"keys/{key.key_id}", version.grade, key.required_grade)
    require_version(state, f"keys/{key.key_id}", version, demands_of(key))
    needed = quorum(staging)
    if len(staging.confirmed) < needed:
        missing = sorted(set(staging.voters) - set(staging.confirmed))
        raise Refusal(
            "VERSION_NOT_VALIDATED",
            f"version {version.version} of keys/{key.key_id} was opened by {len(staging.confirmed)} of the "
            f"{needed} nodes that are needed; missing {', '.join(missing)}; retry when they have caught up",
            confirmed=",".join(staging.confirmed),
            missing=",".join(missing),
        )
    return store(state, key, replace(version, staging=replace(staging, validate_ms=state.time_ms)))


def activate_version(state: State, command: ActivateVersion) -> Outcome:
    """Makes a validated version primary in one step; the old primary is left to decrypt."""
    key = state.key(command.key_id)
    version = state.version(key.key_id, command.version)
    name = f"keys/{key.key_id}/versions/{version.version}"
    if key.primary == version.version:
        return Outcome(state.revision, note="already active", key=key, version=public(version))
    target = allowed(key, version, Step.ACTIVATE)
    require_primary(key, command.expected_primary)
    require_enabled(key)
    staging = version.staging
    assert staging is not None
    if not staging.validate_ms:
        raise Refusal("VERSION_NOT_VALIDATED", f"{name} is not validated yet; validate it first")
    if state.time_ms < staging.activate_after_ms:
        wait_ms = staging.activate_after_ms - state.time_ms
        raise Refusal(
            "ACTIVATION_TOO_EARLY",
            f"{name} can be activated in {wait_ms / 1000:g} s: until then a node may not have heard of it",
            wait_ms=wait_ms,
        )
    require_grade(f"keys/{key.key_id}", version.grade, key.required_grade)
    require_version(state, f"keys/{key.key_id}", version, demands_of(key))
    return make_primary(state, key, replace(version, state=target, activate_ms=state.time_ms))


def abort_version(state: State, command: AbortVersion) -> Outcome:
    """Gives a staged version up."""
    key = state.key(command.key_id)
    version = state.version(key.key_id, command.version)
    if version.state is VersionState.DESTROYED and not version.activate_ms:
        return Outcome(state.revision, note="already aborted", key=key, version=public(version))
    allowed(key, version, Step.ABORT)
    return _abort(state, key, version, command.reason)


def quorum(staging: StagingRecord) -> int:
    """How many of the voters must have opened a version before it is valid."""
    return len(staging.voters) // 2 + 1


def _stage(
    state: State,
    key: KeyRecord,
    new: NewVersion,
    voters: tuple[str, ...],
    imported_under: RootRecord | None = None,
) -> Outcome:
    require_enabled(key)
    require_none_staged(key)
    name = f"keys/{key.key_id}"
    version = new_version(state, name, new, key.version_count + 1, 0, demands_of(key))
    if imported_under is not None:
        seen = provenance_of(state, version).with_more(provenance_of_root(imported_under))
        version = replace(version, grade=Grade.IMPORTED, relayed=seen.relayed, qber=seen.qber)
    require_grade(name, version.grade, key.required_grade)
    after_ms = max(state.time_ms + key.max_staleness_ms, key.stale_until_ms) if key.primary else state.time_ms
    staging = StagingRecord(state.revision + 1, state.time_ms, after_ms, voters)
    version = replace(version, state=VersionState.PRE_ACTIVATION, activate_ms=0, staging=staging)
    state.unconfirmed[key.key_id, version.version] = staging.revision
    return store(state, replace(key, staged=version.version, version_count=version.version), version)


def _abort(state: State, key: KeyRecord, version: VersionRecord, reason: str) -> Outcome:
    return erase(
        state,
        end_staging(state, key, version),
        replace(version, reason=reason, destroy_ms=state.time_ms),
        Step.ABORT,
    )


def _record(state: State, key: KeyRecord, version: VersionRecord, staging: StagingRecord) -> Outcome:
    """Stores evidence; when every voter has spoken, none is owed any more."""
    if {*staging.confirmed, *staging.rejected} >= set(staging.voters):
        del state.unconfirmed[key.key_id, version.version]
    version = state.versions[key.key_id, version.version] = replace(version, staging=staging)
    return Outcome(state.revision + 1, changed=True, key=key, version=public(version))


def _witnessed(
    state: State, command: ConfirmVersion | RejectVersion
) -> tuple[KeyRecord, VersionRecord, StagingRecord]:
    key = state.key(command.key_id)
    version = state.version(key.key_id, command.version)
    if version.staging is None or command.node_id not in version.staging.voters:
        raise Refusal("NOT_A_VOTER", f"node {command.node_id} is no voter of version {version.version}")
    return key, version, version.staging
