"""What a node does unasked: open and pass on shares, open staged versions, lead the seeding, pass time on.

One loop. It wakes when the ledger changes or a short period ends, wipes what
was destroyed, and calls the next step of the voter and the witness and, while
this node leads, of the seeder. All are idempotent, so waking too often or
failing half-way does no harm; an error is logged, shown in the status, and
tried again. Keys are rotated by a loop of its own (`rotation`): drawing some
kinds of them takes seconds.
"""

import asyncio
from collections.abc import Callable

import structlog

from qkms_node.consensus.replica import Replica, ReplicaStatus, Role
from qkms_node.errors import QkmsError
from qkms_node.ledger.commands import AdvanceTime
from qkms_node.service.evidence import Witness
from qkms_node.service.links import Links
from qkms_node.service.members import Members
from qkms_node.service.membership import Membership
from qkms_node.service.monitoring.reporting import AlarmReporter
from qkms_node.service.proposing import Proposer
from qkms_node.service.recovery import Recovery
from qkms_node.service.rewrapping import Rewrapping
from qkms_node.service.roots import RootStore
from qkms_node.service.seeding import Seeder
from qkms_node.service.shares import Voter
from qkms_node.service.sharing import Sharing
from qkms_node.service.store import LedgerStore
from qkms_node.service.versions import Versions

log = structlog.get_logger(__name__)

PERIOD_S = 0.5

# Under a stream of writes the loop would otherwise run once for each of them.
PAUSE_S = 0.02


class Upkeep:
    """The node's background loop."""

    def __init__(
        self,
        replica: Replica,
        store: LedgerStore,
        roots: RootStore,
        voter: Voter,
        seeder: Seeder,
        sharing: Sharing,
        recovery: Recovery,
        rewrapping: Rewrapping,
        proposer: Proposer,
        versions: Versions,
        now_ms: Callable[[], int],
        members: Members,
        membership: Membership,
        links: Links,
        witness: Witness,
        reporter: AlarmReporter,
    ) -> None:
        self._replica = replica
        self._store = store
        self._roots = roots
        self._voter = voter
        self._seeder = seeder
        self._sharing = sharing
        self._recovery = recovery
        self._rewrapping = rewrapping
        self._proposer = proposer
        self._versions = versions
        self._now_ms = now_ms
        self._members = members
        self._membership = membership
        self._links = links
        self._witness = witness
        self._reporter = reporter
        self._trouble = ""

    @property
    def waiting(self) -> str:
        """What the root waits for at this node, in words; empty: nothing."""
        if self._roots.sealed:
            return f"this node is sealed: {self._roots.reason}"
        parts = (self._voter, self._seeder, self._sharing, self._rewrapping)
        return next((part.waiting for part in parts if part.waiting), "") or self._trouble

    async def run(self) -> None:
        """Runs for ever."""
        while True:
            seen = self._store.applied
            try:
                await self._pass()
                self._trouble = ""
            except QkmsError as error:
                self._trouble = error.message
                log.info("upkeep.waiting", code=error.code, reason=error.message)
            await asyncio.sleep(PAUSE_S)
            await self._store.wait_applied(seen, PERIOD_S)

    async def _pass(self) -> None:
        self._versions.sweep()
        with self._store.view() as state:
            is_member = self._members.holds_me(state)
            peers = self._members.peers(state)
            self._links.follow(self._members.sae_id(state), {n: m.sae_id for n, m in peers.items()})
        status = self._replica.status()
        if status.leader_id is None:
            self._trouble = "there is no leader"
            return
        leads = status.role is Role.LEADER
        if not leads:
            self._membership.rest()
            self._seeder.waiting = self._rewrapping.waiting = ""
        if not is_member:
            # What it holds it may use until its reads go stale; it is given nothing more.
            self._voter.waiting, self._seeder.waiting = "this node was removed from the cluster", ""
        else:
            await self._reporter.step()
            if not self._roots.sealed:
                await self._take_roots(status)
        if leads:
            await self._membership.step(self._now_ms())
            if is_member and not self._roots.sealed:
                await self._seeder.step()
                await self._rewrapping.step()
            await self._pass_time_on()

    async def _take_roots(self, status: ReplicaStatus) -> None:
        assert status.leader_id is not None
        if status.staleness_s is not None:
            self._voter.erase_ended()
        await self._voter.register()
        await self._voter.catch_up()
        await self._recovery.step(status.leader_id, status.connected)
        with self._store.view() as state:
            peers = self._seeder.peers(state)
        await self._sharing.share_anew(status.leader_id, status.connected, peers)
        await self._witness.step()

    async def _pass_time_on(self) -> None:
        with self._store.view() as state:
            due_ms = state.next_due_ms()
        if due_ms is not None and due_ms <= self._now_ms():
            await self._proposer.effect(AdvanceTime())
