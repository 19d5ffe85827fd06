"""The leader's part in membership: lets the engine's configuration follow the member records.

One pass compares the two and makes one change, the first that the engine lets
through:

    leadership is wished elsewhere, or this leader is to go  ->  hand over
    recorded, not in the configuration                       ->  add as a learner
    recorded as voter, a learner in the configuration        ->  promote
    in the configuration, not recorded                       ->  remove

All it needs is in the ledger and in the log, so a new leader goes on where the
old one fell. What the engine refuses "not now" is tried again at the next
pass, and so is what it refuses for good as things are; both are reported.
"""

import structlog

from qkms_node.config import Config
from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.leading import CAUGHT_UP_ENTRIES
from qkms_node.consensus.replica import ChangeRefused, ConsensusError, Replica, ReplicaStatus
from qkms_node.ledger.commands import FoundMembers, SettleHandover
from qkms_node.ledger.member_records import HandoverRecord, MemberRecord, MemberRole
from qkms_node.ledger.member_rules import HANDOVER
from qkms_node.service.members import Members
from qkms_node.service.proposing import Proposer
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

CHANGE_TIMEOUT_S = 5.0
HANDOVER_TIMEOUT_S = 3.0


class Membership:
    """Takes the next step of this node as leader. `troubles`: by member, why its change has not been made."""

    def __init__(
        self, config: Config, members: Members, replica: Replica, store: LedgerStore, proposer: Proposer
    ) -> None:
        self._node_id = config.node.id
        self._members = members
        self._replica = replica
        self._store = store
        self._proposer = proposer
        self.troubles: dict[str, str] = {}

    def rest(self) -> None:
        """This node does not lead."""
        self.troubles = {}

    async def step(self, now_ms: int) -> None:
        """Looks at the records and makes one change, if one is due."""
        with self._store.view() as state:
            wanted = dict(state.members)
            wish = state.handovers.get(HANDOVER)
        if not wanted:
            if self._members.founders:
                await self._proposer.effect(FoundMembers(self._members.founders))
            return
        status = self._replica.status()
        if wish is not None and await self._follow(wish, wanted, status, now_ms):
            return
        if self._node_id not in wanted:
            await self._hand_over(self._node_id, "", wanted, status)
            return
        await self._reconcile(wanted, status)

    async def _follow(
        self, wish: HandoverRecord, wanted: dict[str, MemberRecord], status: ReplicaStatus, now_ms: int
    ) -> bool:
        """Settles a wish for another leader, or hands over; True when this node leads no more."""
        came_true = wish.target == self._node_id if wish.target else wish.source != self._node_id
        if came_true or now_ms > wish.expire_ms:
            log.info("membership.handover_settled", target=wish.target, came_true=came_true)
            await self._proposer.effect(SettleHandover(wish.revision))
            return False
        return await self._hand_over(wish.target or self._node_id, wish.target, wanted, status)

    async def _hand_over(
        self, concerned: str, target: str, wanted: dict[str, MemberRecord], status: ReplicaStatus
    ) -> bool:
        """Lets `target`, or the most complete voter that stays, lead. Writes wait meanwhile, so an heir that
        is not there or lags is not even asked."""
        able = heirs(wanted, status)
        if (target and target not in able) or not able:
            who = target or "another voter"
            self.troubles = {concerned: f"not now: {who} is not connected to the leader, or has not caught up"}
            return False
        self.troubles = {}
        return await self._replica.transfer_leadership(target or able[0], HANDOVER_TIMEOUT_S)

    async def _reconcile(self, wanted: dict[str, MemberRecord], status: ReplicaStatus) -> None:
        troubles: dict[str, str] = {}
        for change in due(wanted, status):
            try:
                await self._replica.change_members(change, CHANGE_TIMEOUT_S)
            except ChangeRefused as refusal:
                self._tell(troubles, change, f"refused: {refusal}")
            except ConsensusError as problem:
                self._tell(troubles, change, f"not now: {problem}")
            else:
                log.info("membership.changed", kind=change.kind, member=change.member)
                break
        self.troubles = troubles

    def _tell(self, troubles: dict[str, str], change: Change, problem: str) -> None:
        troubles[change.member] = problem
        if self.troubles.get(change.member) != problem:
            log.info("membership.waiting", kind=change.kind, member=change.member, problem=problem)


def due(wanted: dict[str, MemberRecord], status: ReplicaStatus) -> list[Change]:
    """The changes that lead from the engine's configuration to the records, growing before shrinking."""
    have = status.configuration
    added = [
        Change("add_learner", m.node_id, m.raft_address) for m in wanted.values() if m.node_id not in have.members
    ]
    promoted = [
        Change("promote", m.node_id)
        for m in wanted.values()
        if m.role is MemberRole.VOTER and m.node_id in have.learners
    ]
    removed = [Change("remove", node_id) for node_id in sorted(have.members) if node_id not in wanted]
    return [*added, *promoted, *removed]


def heirs(wanted: dict[str, MemberRecord], status: ReplicaStatus) -> list[str]:
    """The other voters that stay, are connected, and hold the log but for what is under way; the fullest first."""
    held = status.held
    able = [
        voter
        for voter in status.configuration.voters
        if voter in wanted
        and voter in status.connected
        and held.get(voter, 0) + CAUGHT_UP_ENTRIES >= status.commit_index
    ]
    return sorted(able, key=lambda voter: (-held.get(voter, 0), voter))
