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
        witness: Witness,
    ) -> None:
        self._replica = replica
        self._store = store
        self._voter = voter
        self._seeder = seeder
        self._proposer = proposer
        self._versions = versions
        self._now_ms = now_ms
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
        if self._replica.status().leader_id is None:
            self._trouble = "there is no leader"
            return
        await self._voter.register()
        await self._voter.catch_up()
        await self._witness.step()
        if self._replica.status().role is not Role.LEADER:
            self._seeder.waiting = ""
            return
        await self._seeder.step()
        with self._store.view() as state:
            due_ms = state.next_due_ms()
        if due_ms is not None and due_ms <= self._now_ms():
            await self._proposer.effect(AdvanceTime())
