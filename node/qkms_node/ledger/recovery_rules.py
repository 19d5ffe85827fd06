"""What commands do to the recovery key and to what is sealed to it.

One recovery key at a time. A new one takes the old one's sealed roots away in
the same entry: shares of a replaced set open nothing of the ledger as it is.
Backups and old copies of the journal are another matter.
"""

from msgspec.structs import replace

from qkms_node.ledger.commands import Outcome, SealToRecovery, SetRecovery
from qkms_node.ledger.records import EpochState, RecoveryRecord
from qkms_node.ledger.state import Refusal, State

# Epochs whose root somebody may need.
NEEDED = frozenset({EpochState.STAGED, EpochState.ACTIVE, EpochState.RETIRED})


def present_set(state: State) -> str:
    """The set id of the recovery key; empty: there is none."""
    return next(iter(state.recovery), "")


def set_recovery(state: State, command: SetRecovery) -> Outcome:
    """Sets the recovery key; the leader then seals every epoch to it."""
    present = present_set(state)
    if present == command.set_id:
        return Outcome(state.revision, note="already set")
    if present != command.expected_set:
        raise Refusal(
            "RECOVERY_CONFLICT",
            f"the present recovery set is {present or 'none'}, not {command.expected_set or 'none'}; "
            "look at it and decide again",
            expected=command.expected_set,
            actual=present,
        )
    record = RecoveryRecord(
        set_id=command.set_id,
        threshold=command.threshold,
        share_count=command.share_count,
        mlkem_public=command.mlkem_public,
        x25519_public=command.x25519_public,
        create_ms=state.time_ms,
    )
    state.recovery.become({record.set_id: record})
    for epoch, root in state.roots.items():
        state.roots[epoch] = replace(root, recovery_set="", recovery_sealed=b"")
    return Outcome(state.revision + 1, changed=True)


def seal_to_recovery(state: State, command: SealToRecovery) -> Outcome:
    """Keeps a root sealed to the present recovery key; one that is there already stays."""
    root = state.roots.get(command.epoch)
    if root is None or root.state not in NEEDED or command.set_id != present_set(state):
        return Outcome(state.revision, note="not wanted any more", root=root)
    if root.recovery_set == command.set_id:
        return Outcome(state.revision, note="already sealed", root=root)
    sealed = replace(root, recovery_set=command.set_id, recovery_sealed=command.sealed)
    state.roots[root.epoch] = sealed
    return Outcome(state.revision + 1, changed=True, root=sealed)
