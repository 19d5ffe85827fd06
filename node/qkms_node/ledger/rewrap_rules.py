"""What commands do to bring versions under the active epoch, and to end the epochs they leave.

The material of a version never changes, so the epoch it is under is all that
a compare-and-swap needs: of two leaders that rewrap the same version, one wins
and the other's entry changes nothing. A version never moves under an epoch of
lower grade: its wrapped form would then be as weak as that epoch. Nor does one
of a key move under an epoch whose QKD keys have gone through more than it allows.
"""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade, satisfies
from qkms_node.ledger.commands import DestroyRoot, Outcome, RewrapVersions
from qkms_node.ledger.provenance_rules import Demands, demands_of, provenance_of, provenance_of_root
from qkms_node.ledger.records import EpochState, RootRecord, VersionRecord
from qkms_node.ledger.state import Refusal, State


def movable(version: VersionRecord, active: RootRecord, demands: Demands) -> bool:
    """Whether a version is to be moved under the active epoch."""
    if not demands.met(provenance_of_root(active)):
        return False
    behind = bool(version.wrapped) and version.epoch != active.epoch
    # Of an imported version the cluster promises nothing that a weaker epoch could break.
    return behind and (version.grade is Grade.IMPORTED or satisfies(active.grade, version.grade))


def uses(state: State, epoch: int) -> str:
    """What still needs the root of an epoch, in words; empty: nothing does."""
    found = []
    if number := state.versions.counts["epoch"][epoch]:
        found.append(f"{number} key versions are wrapped under it")
    if number := state.sessions.counts["epoch"][epoch]:
        found.append(f"{number} open sessions are bound to it")
    if number := state.sae_keys.counts["epoch"][epoch]:
        found.append(f"{number} SAE keys are sealed under it")
    if number := sum(wrapping.epoch == epoch for wrapping in state.wrappings.values()):
        found.append(f"{number} import keys are sealed under it")
    if any(r.base_epoch == epoch and r.state is EpochState.STAGED for r in state.roots.values()):
        found.append("the staged epoch is based on it")
    return ", ".join(found)


def rewrap_versions(state: State, command: RewrapVersions) -> Outcome:
    """Replaces the wrapped material of every version that is still where the proposer saw it."""
    if command.epoch != state.active_epoch:
        raise Refusal(
            "EPOCH_CONFLICT",
            f"root epoch {state.active_epoch} is active, not {command.epoch}; rewrap to that one",
            expected=command.epoch,
            actual=state.active_epoch,
        )
    active = state.active_root()
    moved = 0
    for item in command.versions:
        key, version = state.keys.get(item.key_id), state.versions.get((item.key_id, item.version))
        if key is None or version is None or version.epoch != item.from_epoch:
            continue
        if not movable(version, active, demands_of(key)):
            continue
        seen = provenance_of(state, version).with_more(provenance_of_root(active))
        moved_version = replace(
            version, epoch=active.epoch, wrapped=item.wrapped, relayed=seen.relayed, qber=seen.qber
        )
        state.versions[item.key_id, item.version] = moved_version
        moved += 1
    note = f"{moved} of {len(command.versions)} versions moved"
    return Outcome(state.revision + bool(moved), changed=bool(moved), note=note)


def destroy_root(state: State, command: DestroyRoot) -> Outcome:
    """Ends a retired epoch and forgets its shares; refused while anything needs its root."""
    root = state.roots.get(command.epoch)
    if root is None:
        raise Refusal("EPOCH_NOT_FOUND", f"there is no root epoch {command.epoch}", epoch=command.epoch)
    if root.state is EpochState.DESTROYED:
        return Outcome(state.revision, note="already destroyed", root=root)
    if root.state is not EpochState.RETIRED:
        raise Refusal("ILLEGAL_TRANSITION", f"root epoch {root.epoch} is {root.state.name}: cannot destroy it")
    if needed := uses(state, root.epoch):
        raise Refusal("EPOCH_IN_USE", f"root epoch {root.epoch} is in use: {needed}", epoch=root.epoch)
    ended = replace(root, state=EpochState.DESTROYED, shares={}, rejected={}, recovery_set="", recovery_sealed=b"")
    state.roots[root.epoch] = ended
    return Outcome(state.revision + 1, changed=True, root=ended)
