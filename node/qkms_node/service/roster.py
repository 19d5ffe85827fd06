"""Use cases of membership: reading the member records, and changing the operator's intent.

Each mutation only changes records, once per request_id; the leader carries
them out (service.membership). Who may is a policy action `cluster.*` each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qkms_node.access.guard import Guard
from qkms_node.consensus.replica import Replica, ReplicaStatus, Role
from qkms_node.errors import QkmsError
from qkms_node.ledger.commands import (
    AddMember,
    Outcome,
    PromoteMember,
    RemoveMember,
    Request,
    TransferLeadership,
)
from qkms_node.ledger.member_records import MemberRecord, MemberRole
from qkms_node.ledger.state import State
from qkms_node.service.freshness import Freshness, Wanted
from qkms_node.service.members import Members
from qkms_node.service.membership import Membership
from qkms_node.service.proposing import RETRY_AFTER_S, Proposer
from qkms_node.service.reading import admit
from qkms_node.service.store import LedgerStore


@dataclass(frozen=True)
class MemberView:
    """A member as this node sees it. `record` is None for one that is to go; `behind` is known to a leader.

    `qkd_sealed`: all traffic of consensus to and from it is under QKD keys, inside TLS; None for this node.
    """

    node_id: str
    record: MemberRecord | None
    raft_address: str
    acting_role: MemberRole | None
    connected: bool
    joined: bool
    holds_root: bool
    behind: int | None
    trouble: str
    qkd_sealed: bool | None


class Roster:
    """The members of the cluster, for operators."""

    def __init__(
        self,
        node_id: str,
        guard: Guard,
        members: Members,
        membership: Membership,
        replica: Replica,
        store: LedgerStore,
        proposer: Proposer,
        freshness: Freshness,
    ) -> None:
        self._node_id = node_id
        self._guard = guard
        self._members = members
        self._membership = membership
        self._replica = replica
        self._store = store
        self._proposer = proposer
        self._freshness = freshness

    async def list(self, principal: str, wanted: Wanted) -> Sequence[MemberView]:
        """Everybody who is recorded or takes part, by id."""
        await admit(self._guard, self._freshness, wanted, principal, "cluster.members")
        return self.seen()

    def seen(self) -> Sequence[MemberView]:
        """As `list`, of this node's present state."""
        status = self._replica.status()
        with self._store.view() as state:
            records = dict(self._members.of(state))
            ids = sorted({*records, *status.configuration.members})
            return [self._view(node_id, records.get(node_id), state, status) for node_id in ids]

    def _view(self, node_id: str, record: MemberRecord | None, state: State, status: ReplicaStatus) -> MemberView:
        acting = None
        if node_id in status.configuration.members:
            acting = MemberRole.VOTER if node_id in status.configuration.voters else MemberRole.LEARNER
        root = state.roots.get(state.active_epoch)
        behind = None
        if status.role is Role.LEADER:
            held = status.commit_index if node_id == self._node_id else status.held.get(node_id, 0)
            behind = max(0, status.commit_index - held)
        return MemberView(
            node_id=node_id,
            record=record,
            raft_address=record.raft_address if record else status.configuration.members[node_id],
            acting_role=acting,
            connected=node_id == self._node_id or node_id in status.connected,
            joined=node_id in state.nodes,
            holds_root=root is not None and node_id in root.confirmed,
            behind=behind,
            trouble=self._membership.troubles.get(node_id, ""),
            qkd_sealed=None if node_id == self._node_id else node_id in status.sealed,
        )

    async def add(self, command: AddMember) -> Outcome:
        """Records a learner, and invites it."""
        self._guard.require(command.request.principal, "cluster.add")
        return await self._proposer.effect(command)

    async def promote(self, request: Request, node_id: str) -> Outcome:
        """Records that a learner is to vote."""
        self._guard.require(request.principal, "cluster.promote")
        return await self._proposer.effect(PromoteMember(request, node_id))

    async def remove(self, request: Request, node_id: str) -> Outcome:
        """Records that a member is to go."""
        self._guard.require(request.principal, "cluster.remove")
        return await self._proposer.effect(RemoveMember(request, node_id))

    async def transfer(self, request: Request, target: str) -> Outcome:
        """Records who is to lead. Raises QkmsError NO_QUORUM while nobody leads."""
        self._guard.require(request.principal, "cluster.transfer")
        source = self._replica.status().leader_id
        if source is None:
            raise QkmsError("NO_QUORUM", "nobody leads at present; try again", retry_after_s=RETRY_AFTER_S)
        return await self._proposer.effect(TransferLeadership(request, target, source))
