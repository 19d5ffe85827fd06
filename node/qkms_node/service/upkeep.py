"""What a node does unasked: register, open shares and staged versions, lead the seeding, pass time on.

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

from qkms_node.consensus.replica import Replica, Role
from qkms_node.errors import QkmsError
from qkms_node.ledger.commands import AdvanceTime
from qkms_node.service.evidence import Witness
from qkms_node.service.links import Links
from qkms_node.service.members import Members
from qkms_node.service.membership import Membership
from qkms_node.service.proposing import Proposer
from qkms_node.service.seeding import Seeder
from qkms_node.service.shares import Voter
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
        voter: Voter,
        seeder: Seeder,
        proposer: Proposer,
        versions: Versions,
        now_ms: Callable[[], int],
        members: Members,
        membership: Membership,
        links: Links,
        witness: Witness,
    ) -> None:
        self._replica = replica
        self._store = store
        self._voter = voter
        self._seeder = seeder
        self._proposer = proposer
        self._versions = versions
        self._now_ms = now_ms
        self._members = members
        self._membership = membership
        self._links = links
        self._witness = witness
        self._trouble = ""

    @property
    def waiting(self) -> str:
        """What the root waits for at this node, in words; empty: nothing."""
        return self._voter.waiting or self._seeder.waiting or self._trouble

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
        if self._replica.status().leader_id is None:
            self._trouble = "there is no leader"
            return
        leads = self._replica.status().role is Role.LEADER
        if not leads:
            self._membership.rest()
            self._seeder.waiting = ""
        if not is_member:
            # What it holds it may use until its reads go stale; it is given nothing more.
            self._voter.waiting, self._seeder.waiting = "this node was removed from the cluster", ""
        else:
            await self._voter.register()
            await self._voter.catch_up()
            await self._witness.step()
        if not leads:
            return
        await self._membership.step(self._now_ms())
        if is_member:
            await self._seeder.step()
        with self._store.view() as state:
            due_ms = state.next_due_ms()
        if due_ms is not None and due_ms <= self._now_ms():
            await self._proposer.effect(AdvanceTime())
