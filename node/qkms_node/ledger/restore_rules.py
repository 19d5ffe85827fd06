"""What commands do to bring a backup into a cluster without keys.

Parts are gathered in the ledger and take effect in one entry, so that no node
ever serves half a backup. The cluster keeps its own nodes, members, audit,
revision (it only grows) and clock; all else is the backup's. The epochs that the cluster
had seeded for itself go: nothing was wrapped under them. Of the backup's
epochs nobody but the restoring node holds the root, which the ledger says by
leaving shares and confirmations empty: the others are then given theirs. SAE
keys do not come back: whoever has collected one since the backup must not be
able to get it again.
"""

import msgspec
from msgspec.structs import replace

from qkms_node.ledger.commands import FinishRestore, Outcome, RestorePart
from qkms_node.ledger.records import EpochState, RestoreRecord
from qkms_node.ledger.snapshot import SCALARS, TABLES, SnapshotRejected, restore
from qkms_node.ledger.state import Refusal, State

# What belongs to the cluster and not to its keys.
KEPT_TABLES = frozenset(
    {
        "nodes",
        "members",
        "join_tokens",
        "handovers",
        "restores",
        "restore_parts",
        "audit_keys",
        "anchors",
        "link_alarms",
    }
)
KEPT_SCALARS = frozenset(
    {"revision", "first_event", "access_revision", "audit_length", "audit_base", "audit_head"}
)

_rows = msgspec.msgpack.Decoder(tuple[bytes, ...])
_IN_USE = frozenset({EpochState.ACTIVE, EpochState.RETIRED})


def require_empty(state: State) -> None:
    """Raises the refusal CLUSTER_NOT_EMPTY when the cluster has keys or sessions, or had keys."""
    held = state.sae_keys.counts["epoch"].total()
    if state.keys or state.sessions or state.tombstones or held:
        raise Refusal(
            "CLUSTER_NOT_EMPTY",
            f"this cluster has {len(state.keys)} keys, {len(state.sessions)} sessions and {held} SAE keys, which "
            "a backup would replace; restore into a new cluster",
            key_count=len(state.keys),
        )


def restore_part(state: State, command: RestorePart) -> Outcome:
    """Gathers one part; part 0 of another restore gives up the one before."""
    record = state.restores.get(command.restore_id)
    if record is not None and (record.finished or command.part < record.next_part):
        return Outcome(state.revision, note="already there")
    require_empty(state)
    if command.part == 0:
        record = RestoreRecord(command.restore_id, 0, command.commitments)
        state.restore_parts.clear()
    if record is None or command.part != record.next_part:
        raise Refusal(
            "RESTORE_CONFLICT",
            f"part {command.part} of restore {command.restore_id} is not the next one; begin the restore anew",
        )
    state.restores.become({record.restore_id: replace(record, next_part=command.part + 1)})
    state.restore_parts[command.part] = msgspec.msgpack.encode(command.rows)
    return Outcome(state.revision + 1, changed=True)


def finish_restore(state: State, command: FinishRestore) -> Outcome:
    """Replaces the ledger's content by the backup's."""
    record = state.restores.get(command.restore_id)
    if record is not None and record.finished:
        return Outcome(state.revision, note="already restored")
    require_empty(state)
    if record is None or record.next_part != command.parts:
        raise Refusal("RESTORE_CONFLICT", f"restore {command.restore_id} is not complete; begin it anew")
    try:
        backup = restore(
            row for part in sorted(state.restore_parts) for row in _rows.decode(state.restore_parts[part])
        )
    except SnapshotRejected as error:
        raise Refusal("BACKUP_REJECTED", f"the ledger in the backup cannot be read: {error}") from error
    lacking = sorted(
        e for e, root in backup.roots.items() if root.state in _IN_USE and e not in record.commitments
    )
    if lacking:
        raise Refusal("BACKUP_REJECTED", f"the backup lacks the roots of epochs {lacking}, which it needs")
    _replace(state, backup)
    _own_roots(state, command, record)
    state.restores.become({record.restore_id: replace(record, commitments={}, finished=True)})
    state.restore_parts.clear()
    return Outcome(state.revision + 1, changed=True)


def _replace(state: State, backup: State) -> None:
    # What this cluster has seen is seen, whatever its backup knew.
    backup.qkd_key_epochs.update(state.qkd_key_epochs)
    backup.requests.update(state.requests)
    backup.sae_keys.become({})
    for name in TABLES.keys() - KEPT_TABLES:
        getattr(state, name).become(getattr(backup, name))
    for name in set(SCALARS) - KEPT_SCALARS:
        setattr(state, name, getattr(backup, name))
    state.revision = max(state.revision, backup.revision)
    state.time_ms = max(state.time_ms, backup.time_ms)
    # What watchers were told before is of another history.
    # The cluster's own scheduled things are of what it keeps; one that finds nothing of its name does nothing.
    own = state.due.copy()
    state.forget_history()
    for due in sorted({*own, *backup.due}):
        state.schedule(*due)
    state.access_revision = state.revision + 1


def _own_roots(state: State, command: FinishRestore, record: RestoreRecord) -> None:
    for epoch, root in state.roots.items():
        if root.state is EpochState.STAGED:
            state.roots[epoch] = replace(
                root, state=EpochState.ABORTED, reason="staged when the backup was made", shares={}
            )
        elif root.state in _IN_USE:
            # What was sealed to the recovery key names the cluster it was sealed in.
            kept = command.same_cluster
            state.roots[epoch] = replace(
                root,
                commitment=record.commitments[epoch],
                leader_id=command.node_id,
                voters=command.voters,
                shares={},
                confirmed=(command.node_id,),
                rejected={},
                recovery_set=root.recovery_set if kept else "",
                recovery_sealed=root.recovery_sealed if kept else b"",
            )
    state.staged_epoch = 0
    state.root_refusals.clear()
    # The backup was outside the cluster: what comes from now on gets a root of its own.
    state.root_needed = True
