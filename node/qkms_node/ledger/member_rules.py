"""What commands do to the member records: the operator's intent, which the leader carries out.

A record says who should take part and as what; the configuration that Raft
acts on follows it, one change at a time (service.membership). So a repeated
request changes nothing, and a new leader goes on where the old one fell.
Leaves out what only the engine can judge: who is connected, who has caught up.
"""

from msgspec.structs import replace

from qkms_node.ledger.commands import (
    AddMember,
    FoundMembers,
    Outcome,
    PromoteMember,
    RemoveMember,
    SettleHandover,
    TransferLeadership,
)
from qkms_node.ledger.join_rules import invite
from qkms_node.ledger.link_rules import forget_alarms_of
from qkms_node.ledger.member_records import HandoverRecord, MemberRecord, MemberRole
from qkms_node.ledger.records import EventType
from qkms_node.ledger.state import Refusal, State, voters

# Those of the engine (consensus.change_rules): what it will refuse for good is refused here at once.
MAX_VOTERS = 9
MAX_MEMBERS = 32

HANDOVER = "leader"
HANDOVER_MS = 30_000


def found_members(state: State, command: FoundMembers) -> Outcome:
    """Records the members that founded the cluster; once there are records, they stay."""
    if state.members:
        return Outcome(state.revision, note="already recorded")
    state.members.become({m.node_id: m for m in command.members})
    return Outcome(state.revision + 1, changed=True)


def add_member(state: State, command: AddMember) -> Outcome:
    """Adds a learner, and invites it with a token if one is given. The same member again gets a new token."""
    _require_founded(state)
    known = state.members.get(command.node_id)
    member = known or MemberRecord(
        node_id=command.node_id,
        raft_address=command.raft_address,
        rpc_address=command.rpc_address,
        sae_id=command.sae_id,
        role=MemberRole.LEARNER,
        added_by=command.request.principal,
        add_ms=state.time_ms,
    )
    if known is None:
        _check_free(state, command)
        state.members[member.node_id] = member
        _emit(state, member)
    elif (known.raft_address, known.rpc_address, known.sae_id) != (
        command.raft_address,
        command.rpc_address,
        command.sae_id,
    ):
        raise Refusal(
            "MEMBER_EXISTS",
            f"{known.node_id} is a member at {known.raft_address}, {known.rpc_address}, SAE id {known.sae_id}; "
            "remove it before it joins elsewhere",
            node_id=known.node_id,
        )
    if command.token_hash:
        invite(state, member.node_id, command.token_hash, command.token_ttl_ms)
    elif known is not None:
        return Outcome(state.revision, note="already a member", member=known)
    return Outcome(state.revision + 1, changed=True, member=member)


def promote_member(state: State, command: PromoteMember) -> Outcome:
    """Lets a learner vote; the engine follows once it has caught up."""
    member = _member(state, command.node_id)
    if member.role is MemberRole.VOTER:
        return Outcome(state.revision, note="already a voter", member=member)
    if member.node_id not in state.nodes:
        raise Refusal(
            "MEMBER_NOT_READY",
            f"{member.node_id} has not joined yet; start it, and promote it when it runs",
            node_id=member.node_id,
        )
    if len(voters(state)) >= MAX_VOTERS:
        raise Refusal("MEMBER_LIMIT", f"the cluster has {MAX_VOTERS} voters, that are the most")
    member = replace(member, role=MemberRole.VOTER)
    state.members[member.node_id] = member
    _emit(state, member)
    return Outcome(state.revision + 1, changed=True, member=member)


def remove_member(state: State, command: RemoveMember) -> Outcome:
    """Takes a member out, with its share keys and its token, and asks for a root that it does not know."""
    member = _member(state, command.node_id)
    if voters(state) == {member.node_id}:
        raise Refusal("LAST_VOTER", f"{member.node_id} is the last voter; a cluster has at least one")
    del state.members[member.node_id]
    state.join_tokens.pop(member.node_id, None)
    forget_alarms_of(state, member.node_id)
    held_the_root = state.nodes.pop(member.node_id, None) is not None
    # A node that comes back under this id has an empty disk: it is given shares anew.
    for epoch, root in state.roots.items():
        state.roots[epoch] = replace(
            root,
            shares={n: share for n, share in root.shares.items() if n != member.node_id},
            rejected={n: why for n, why in root.rejected.items() if n != member.node_id},
        )
    state.root_needed = state.root_needed or (held_the_root and bool(state.last_epoch))
    state.emit(EventType.MEMBER_CHANGED, f"members/{member.node_id}")
    return Outcome(state.revision + 1, changed=True, member=member)


def transfer_leadership(state: State, command: TransferLeadership) -> Outcome:
    """Notes who should lead; the leader hands over when it can, and forgets the wish after a while."""
    if command.target and command.target not in voters(state):
        _member(state, command.target)
        raise Refusal("MEMBER_NOT_READY", f"{command.target} is no voter; promote it first")
    if command.target and command.target == command.source:
        return Outcome(state.revision, note=f"{command.target} leads already")
    if voters(state) <= {command.source}:
        raise Refusal("LAST_VOTER", f"{command.source} is the only voter: nobody else can lead")
    state.handovers[HANDOVER] = HandoverRecord(
        command.target, command.source, state.revision + 1, state.time_ms + HANDOVER_MS
    )
    return Outcome(state.revision + 1, changed=True)


def settle_handover(state: State, command: SettleHandover) -> Outcome:
    """Forgets a wish that came true, or was given up; a newer wish stays."""
    wish = state.handovers.get(HANDOVER)
    if wish is None or wish.revision != command.revision:
        return Outcome(state.revision, note="already settled")
    del state.handovers[HANDOVER]
    return Outcome(state.revision + 1, changed=True)


def _check_free(state: State, command: AddMember) -> None:
    if len(state.members) >= MAX_MEMBERS:
        raise Refusal("MEMBER_LIMIT", f"the cluster has {MAX_MEMBERS} members, that are the most")
    for other in state.members.values():
        for field in ("raft_address", "rpc_address", "sae_id"):
            if getattr(command, field) == getattr(other, field):
                raise Refusal(
                    "MEMBER_EXISTS",
                    f"{field} {getattr(other, field)} is that of {other.node_id}",
                    node_id=other.node_id,
                )


def _member(state: State, node_id: str) -> MemberRecord:
    _require_founded(state)
    member = state.members.get(node_id)
    if member is None:
        raise Refusal("MEMBER_NOT_FOUND", f"{node_id} is no member of this cluster", node_id=node_id)
    return member


def _require_founded(state: State) -> None:
    if not state.members:
        raise Refusal("NOT_FOUNDED", "the first leader has not recorded the members yet; try again")


def _emit(state: State, member: MemberRecord) -> None:
    state.emit(EventType.MEMBER_CHANGED, f"members/{member.node_id}", 0, member.role)
