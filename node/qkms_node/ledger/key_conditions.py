"""Conditions that rules about keys share: each returns, or refuses with its code and changes nothing."""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade, satisfies
from qkms_node.ledger.commands import NewVersion
from qkms_node.ledger.provenance_rules import Demands, require_root
from qkms_node.ledger.records import EpochState, KeyRecord, RootRecord, VersionRecord, VersionState
from qkms_node.ledger.state import Refusal, State

# The proposer drew its material for a state that has moved on. Never shown to
# a caller: the service draws again from the present state.
PROPOSAL_STALE = "PROPOSAL_STALE"


def new_version(
    state: State, name: str, new: NewVersion, expected: int, required_grade: int, demands: Demands
) -> VersionRecord:
    """The ACTIVE record of fresh material. Refuses what was drawn for a state that has moved on."""
    if new.version != expected:
        raise Refusal(PROPOSAL_STALE, f"the next version of {name} is {expected}, not {new.version}")
    root = usable_root(state, new.epoch)
    require_grade(name, root.grade, required_grade)
    require_root(name, root, demands)
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
        relayed=bool(root.relays),
        qber=root.qber,
    )


def usable_root(state: State, epoch: int) -> RootRecord:
    """The root that new material is wrapped under: the active one, or the refusal PROPOSAL_STALE."""
    root = state.roots.get(epoch)
    if root is None or root.state is not EpochState.ACTIVE:
        raise Refusal(PROPOSAL_STALE, f"root epoch {epoch} is not the active one, {state.active_epoch}")
    return root


def require_grade(name: str, grade: Grade, required: int) -> None:
    """Refuses a version below what its key requires (0: nothing)."""
    if not satisfies(grade, Grade(required) if required else None):
        raise Refusal(
            "GRADE_TOO_LOW",
            f"{name} requires grade {Grade(required).name}, the version would have {grade.name}; "
            "wait for a root epoch of that grade",
            grade=grade.name,
            required=Grade(required).name,
        )


def require_primary(key: KeyRecord, expected: int) -> None:
    """Refuses when another version than the expected one is primary."""
    if key.primary != expected:
        raise Refusal(
            "VERSION_CONFLICT",
            f"the primary version of keys/{key.key_id} is {key.primary}, not {expected}; "
            "read the key and decide again",
            expected=expected,
            actual=key.primary,
        )


def require_enabled(key: KeyRecord) -> None:
    """Refuses what a disabled key does not do."""
    if key.disabled:
        raise Refusal("KEY_DISABLED", f"keys/{key.key_id} is disabled; enable it first", name=f"keys/{key.key_id}")


def require_none_staged(key: KeyRecord) -> None:
    """Refuses a new version while another waits for activation."""
    if key.staged:
        raise Refusal(
            "ROTATION_PENDING",
            f"version {key.staged} of keys/{key.key_id} is staged already; activate or abort it first",
            version=key.staged,
        )


def require_revision(key: KeyRecord, expected: int) -> None:
    """Refuses when the key has changed since `expected` (0: whatever it is)."""
    if expected and key.revision != expected:
        raise Refusal(
            "ETAG_MISMATCH",
            f"keys/{key.key_id} has changed since it was read; read it and decide again",
            expected=expected,
            actual=key.revision,
        )


def require_unprotected(key: KeyRecord) -> None:
    """Refuses destruction of a protected key."""
    if key.deletion_protection:
        raise Refusal(
            "DELETION_PROTECTED",
            f"keys/{key.key_id} is protected from deletion; update the key to take the protection off",
            name=f"keys/{key.key_id}",
        )


def public(version: VersionRecord) -> VersionRecord:
    """A version as answers carry it: without material, not even wrapped."""
    return replace(version, wrapped=b"", check_value=b"", public_key=b"")
