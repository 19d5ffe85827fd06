"""What commands do to root epochs: stage, confirm, activate, each idempotent.

Epoch numbers are never reused: an aborted epoch leaves a gap. At most one
epoch is staged at a time. A QKD key id enters an epoch once, ever, in the
whole cluster: a KME that delivers a key again cannot seed a second epoch. The
relays that such a key has passed, and the QBER of its link, stay with the epoch (`provenance_rules`).
"""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade
from qkms_node.ledger.commands import (
    AbortRoot,
    ActivateRoot,
    ConfirmRoot,
    Outcome,
    RefuseRoot,
    RegisterNode,
    RejectShare,
    ReplaceShare,
    RequestRoot,
    StageRoot,
)
from qkms_node.ledger.provenance_rules import gathered, worst_qber
from qkms_node.ledger.records import (
    EpochState,
    EventType,
    NodeRecord,
    RootRecord,
    RootRefusalRecord,
    ShareRecord,
)
from qkms_node.ledger.recovery_rules import present_set
from qkms_node.ledger.state import Refusal, State, voters


def quorum(root: RootRecord) -> int:
    """How many of the epoch's voters must confirm it."""
    return len(root.voters) // 2 + 1


def register_node(state: State, command: RegisterNode) -> Outcome:
    """Records a node's public keys for shares; a node that was removed is given no root any more."""
    if state.members and command.node_id not in state.members:
        raise Refusal("NOT_A_MEMBER", f"{command.node_id} is no member of this cluster", node_id=command.node_id)
    record = NodeRecord(command.node_id, command.mlkem_public, command.x25519_public)
    if state.nodes.get(command.node_id) == record:
        return Outcome(state.revision, note="already registered")
    state.nodes[command.node_id] = record
    return Outcome(state.revision + 1, changed=True)


def request_root(state: State, command: RequestRoot) -> Outcome:
    """Notes that a new epoch is wanted; the leader seeds it when it can."""
    if command.expected_epoch != state.active_epoch:
        raise Refusal(
            "EPOCH_CONFLICT",
            f"the active root epoch is {state.active_epoch}, not {command.expected_epoch}; "
            "read the status and decide again",
            expected=command.expected_epoch,
            actual=state.active_epoch,
        )
    if state.root_requested:
        return Outcome(state.revision, note="already requested")
    state.root_requested = True
    # Whoever asks anew is answered anew.
    state.root_refusals.clear()
    return Outcome(state.revision + 1, changed=True)


def refuse_root(state: State, command: RefuseRoot) -> Outcome:
    """Answers an operator's request with no, and tells everybody; the same refusal again changes nothing.

    What the cluster itself needs stays needed: the leader seeds it as soon as it can.
    """
    if command.epoch != state.active_epoch or state.staged_epoch:
        return Outcome(state.revision, note=f"another epoch than {command.epoch} is active, or one is staged")
    if command.epoch in state.root_refusals and not state.root_requested:
        return Outcome(state.revision, note="already refused")
    state.root_requested = False
    state.root_refusals.become({command.epoch: RootRefusalRecord(command.epoch, command.reason, state.time_ms)})
    state.emit(EventType.ROOT_REFUSED, f"rootEpochs/{command.epoch}")
    return Outcome(state.revision + 1, changed=True)


def stage_root(state: State, command: StageRoot) -> Outcome:
    """Stages the next epoch; the same stage sent again changes nothing."""
    known = state.roots.get(command.epoch)
    if known is not None and known.commitment == command.commitment:
        return Outcome(state.revision, note=f"epoch {command.epoch} is already {known.state.name}", root=known)
    if command.epoch != state.last_epoch + 1 or command.base_epoch != state.active_epoch:
        raise Refusal(
            "EPOCH_CONFLICT",
            f"cannot stage epoch {command.epoch} on epoch {command.base_epoch}: the next is "
            f"{state.last_epoch + 1} on {state.active_epoch}; seed again",
            expected=command.epoch,
            actual=state.last_epoch + 1,
        )
    if state.members and set(command.voters) | {command.leader_id} != voters(state):
        raise Refusal("EPOCH_CONFLICT", "the voters changed while the epoch was being seeded; seed again")
    if state.staged_epoch:
        raise Refusal("ROTATION_PENDING", f"root epoch {state.staged_epoch} is staged already")
    for key_id in command.qkd_key_ids:
        if key_id in state.qkd_key_epochs:
            raise Refusal(
                "KEY_REPLAYED",
                f"QKD key {key_id} was used in root epoch {state.qkd_key_epochs[key_id]} already; "
                "its KME delivered it again; draw another key",
                key_id=key_id,
            )
    for share in command.shares.values():
        _check_share(command.grade, share)
        if share.qkd_key_id and share.qkd_key_id not in command.qkd_key_ids:
            raise Refusal("SHARE_BELOW_GRADE", f"QKD key {share.qkd_key_id} seals a share and is no seed")
    root = RootRecord(
        epoch=command.epoch,
        base_epoch=command.base_epoch,
        state=EpochState.STAGED,
        grade=command.grade,
        leader_id=command.leader_id,
        commitment=command.commitment,
        qkd_key_ids=command.qkd_key_ids,
        voters=command.voters,
        shares=command.shares,
        stage_ms=state.time_ms,
        fallback=command.fallback,
        relays=gathered((), command.shares.values()),
        qber=worst_qber(0.0, command.shares.values()),
    )
    state.roots[root.epoch] = root
    state.root_refusals.clear()
    state.staged_epoch = state.last_epoch = root.epoch
    for key_id in command.qkd_key_ids:
        state.qkd_key_epochs[key_id] = root.epoch
    return Outcome(state.revision + 1, changed=True, root=root)


def confirm_root(state: State, command: ConfirmRoot) -> Outcome:
    """Notes that a voter holds the root; late confirmations of an active epoch count as well."""
    root = _root(state, command.epoch)
    if root.state is EpochState.ABORTED:
        raise Refusal("EPOCH_ABORTED", f"root epoch {root.epoch} was aborted: {root.reason}")
    # Members that joined later, and learners, hold an epoch by a share of their own.
    if command.node_id not in root.voters and command.node_id not in root.shares:
        raise Refusal("NOT_A_VOTER", f"node {command.node_id} is no voter of root epoch {root.epoch}")
    if command.commitment != root.commitment:
        raise Refusal("COMMITMENT_MISMATCH", f"node {command.node_id} holds another root {root.epoch}")
    if command.node_id in root.confirmed:
        return Outcome(state.revision, note="already confirmed", root=root)
    confirmed = replace(root, confirmed=tuple(sorted((*root.confirmed, command.node_id))))
    rejected = {node: reason for node, reason in root.rejected.items() if node != command.node_id}
    state.roots[root.epoch] = replace(confirmed, rejected=rejected)
    return Outcome(state.revision + 1, changed=True, root=state.roots[root.epoch])


def reject_share(state: State, command: RejectShare) -> Outcome:
    """Notes that a node cannot open its share, or lost the root it had (then `sealed` is of the
    share it once had, or empty); a share replaced meanwhile is not blamed."""
    root = _root(state, command.epoch)
    share = root.shares.get(command.node_id)
    stale = (share.sealed if share else b"") != command.sealed
    if stale or root.state is EpochState.ABORTED or command.node_id in root.rejected:
        return Outcome(state.revision, note="already settled", root=root)
    rejected = {**root.rejected, command.node_id: command.reason}
    confirmed = tuple(node for node in root.confirmed if node != command.node_id)
    state.roots[root.epoch] = replace(root, rejected=rejected, confirmed=confirmed)
    return Outcome(state.revision + 1, changed=True, root=state.roots[root.epoch])


def replace_share(state: State, command: ReplaceShare) -> Outcome:
    """Gives a node that has no share of an epoch in use, or could not open it, another one."""
    root = _root(state, command.epoch)
    node_id = command.share.node_id
    wanted = node_id in root.rejected or (node_id not in root.shares and node_id not in root.confirmed)
    if root.state not in (EpochState.ACTIVE, EpochState.RETIRED) or not wanted:
        return Outcome(state.revision, note="no share is wanted", root=root)
    _check_share(root.grade, command.share)
    key_id = command.share.qkd_key_id
    if key_id and key_id in state.qkd_key_epochs:
        raise Refusal("KEY_REPLAYED", f"QKD key {key_id} was used already; draw another key", key_id=key_id)
    relays, qber = gathered(root.relays, [command.share]), worst_qber(root.qber, [command.share])
    if key_id:
        state.qkd_key_epochs[key_id] = root.epoch
    rejected = {node: reason for node, reason in root.rejected.items() if node != node_id}
    shares = {**root.shares, node_id: command.share}
    state.roots[root.epoch] = replace(root, shares=shares, rejected=rejected, relays=relays, qber=qber)
    if relays != root.relays:
        state.emit(EventType.ROOT_RELAYED, f"rootEpochs/{root.epoch}", 0, root.state)
    if qber != root.qber:
        state.emit(EventType.ROOT_QBER_RAISED, f"rootEpochs/{root.epoch}", 0, root.state)
    return Outcome(state.revision + 1, changed=True, root=state.roots[root.epoch])


def activate_root(state: State, command: ActivateRoot) -> Outcome:
    """Makes a staged epoch active and retires the one before it."""
    root = _root(state, command.epoch)
    if root.state in (EpochState.ACTIVE, EpochState.RETIRED, EpochState.DESTROYED):
        # A command that was delayed for so long that its epoch has ended begins it no second time.
        return Outcome(state.revision, note=f"epoch {root.epoch} is already {root.state.name}", root=root)
    if root.state is EpochState.ABORTED:
        raise Refusal("EPOCH_ABORTED", f"root epoch {root.epoch} was aborted: {root.reason}")
    if len(root.confirmed) < quorum(root):
        raise Refusal(
            "NOT_CONFIRMED",
            f"root epoch {root.epoch} has {len(root.confirmed)} of {quorum(root)} confirmations",
        )
    if root.rejected:
        raise Refusal("NOT_CONFIRMED", f"root epoch {root.epoch} was rejected by {sorted(root.rejected)}")
    recovery = present_set(state)
    if recovery and root.recovery_set != recovery:
        raise Refusal("NOT_RECOVERABLE", f"root epoch {root.epoch} is not sealed to recovery key {recovery} yet")
    previous = state.roots.get(state.active_epoch)
    if previous is not None:
        state.roots[previous.epoch] = replace(previous, state=EpochState.RETIRED)
    active = replace(root, state=EpochState.ACTIVE, activate_ms=state.time_ms)
    state.roots[root.epoch] = active
    state.active_epoch = root.epoch
    state.staged_epoch = 0
    state.root_requested = False
    # A member removed while the epoch was staged knows it: another one is needed still.
    state.root_needed = bool(state.members) and not state.members.keys() >= set(root.voters)
    state.emit(EventType.ROOT_ACTIVATED, f"rootEpochs/{root.epoch}", 0, EpochState.ACTIVE)
    change = _qkd_change(previous, root)
    if change is not None:
        state.emit(change, f"rootEpochs/{root.epoch}", 0, EpochState.ACTIVE)
    if root.relays:
        state.emit(EventType.ROOT_RELAYED, f"rootEpochs/{root.epoch}", 0, EpochState.ACTIVE)
    return Outcome(state.revision + 1, changed=True, root=active)


def abort_root(state: State, command: AbortRoot) -> Outcome:
    """Gives a staged epoch up and forgets its shares."""
    root = _root(state, command.epoch)
    if root.state is EpochState.ABORTED:
        return Outcome(state.revision, note="already aborted", root=root)
    if root.state is not EpochState.STAGED:
        raise Refusal("ILLEGAL_TRANSITION", f"root epoch {root.epoch} is {root.state.name}: cannot abort")
    aborted = replace(root, state=EpochState.ABORTED, reason=command.reason, shares={})
    state.roots[root.epoch] = aborted
    state.staged_epoch = 0
    return Outcome(state.revision + 1, changed=True, root=aborted)


def _check_share(grade: Grade, share: ShareRecord) -> None:
    # A leader that lost QKD must not pass a root on under less than the epoch's grade promises.
    if grade is not Grade.PQC and not share.qkd_key_id:
        raise Refusal(
            "SHARE_BELOW_GRADE",
            f"the share for node {share.node_id} is sealed without a QKD key in an epoch of grade {grade.name}",
        )


def _qkd_change(previous: RootRecord | None, root: RootRecord) -> EventType | None:
    """Whether an activation makes the cluster do without QKD, or with it again."""
    had = previous is not None and previous.grade is not Grade.PQC
    if root.grade is Grade.PQC:
        fell = had or (root.fallback and not (previous is not None and previous.fallback))
        return EventType.QKD_FELL_BACK if fell else None
    return EventType.QKD_RESUMED if previous is not None and not had else None


def _root(state: State, epoch: int) -> RootRecord:
    root = state.roots.get(epoch)
    if root is None:
        raise Refusal("EPOCH_NOT_FOUND", f"there is no root epoch {epoch}", epoch=epoch)
    return root
