"""The leader's part in rotation by period: whatever the ledger says is due, it rotates.

That a rotation is due stands in the ledger, by the ledger's time. The request
id follows from key, version and due time, so that two leaders, or one that
repeats itself, make one rotation. What cannot be done now (no root of the
grade, a version staged, the key disabled) stays due and is tried again.
"""

import asyncio
import uuid
from collections.abc import Callable
from itertools import islice

import structlog

from qkms_node.consensus.replica import Replica, Role
from qkms_node.errors import QkmsError
from qkms_node.keys.grade import Grade, satisfies
from qkms_node.ledger.commands import Request, RotateKey
from qkms_node.ledger.records import KeyRecord
from qkms_node.ledger.state import State
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer
from qkms_node.service.proposing import request as make_request
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

PRINCIPAL = "qkms:rotation"
METHOD = "rotation by period"
NAMESPACE = uuid.UUID("5a1a6a35-5d0e-4f0c-9a51-6c1f0e7a4f6e")

# Rotations in flight at once, and how many are begun before the ledger is looked at again.
TOGETHER = 16
PER_PASS = 256
RETRY_MS = 5_000

PERIOD_S = 0.5
PAUSE_S = 0.02


class Rotator:
    """Rotates the keys whose period has ended, while this node leads."""

    def __init__(
        self,
        replica: Replica,
        store: LedgerStore,
        materials: Materials,
        proposer: Proposer,
        now_ms: Callable[[], int],
    ) -> None:
        self._replica = replica
        self._store = store
        self._materials = materials
        self._proposer = proposer
        self._now_ms = now_ms
        self._retry_ms: dict[str, int] = {}

    async def run(self) -> None:
        """Runs for ever; idle while another node leads."""
        while True:
            seen = self._store.applied
            if self._replica.status().role is Role.LEADER:
                await self.step()
            await asyncio.sleep(PAUSE_S)
            await self._store.wait_applied(seen, PERIOD_S)

    async def step(self) -> None:
        """Rotates what is due and can be rotated; one pass."""
        now_ms = self._now_ms()
        with self._store.view() as state:
            if not state.rotation_due:
                self._retry_ms.clear()
                return
            possible = (
                (state.keys[key_id], due_ms)
                for key_id, due_ms in state.rotation_due.items()
                if self._retry_ms.get(key_id, 0) <= now_ms and _possible(state, state.keys[key_id])
            )
            due = list(islice(possible, PER_PASS))
        for start in range(0, len(due), TOGETHER):
            await asyncio.gather(*(self._rotate(key, due_ms) for key, due_ms in due[start : start + TOGETHER]))

    async def _rotate(self, key: KeyRecord, due_ms: int) -> None:
        # Not before the answer is known: a failure is an entry in the log, which wakes this loop again.
        self._retry_ms[key.key_id] = self._now_ms() + RETRY_MS
        try:
            new = await self._materials.draw(key.key_id, key.version_count + 1, key.algorithm)
            command = RotateKey(request_of(key, due_ms), key.key_id, key.primary, new, due_ms)
            outcome = await self._proposer.submit(command)
        except QkmsError as error:
            log.warning("key.rotation_waits", key=key.key_id, due_ms=due_ms, code=error.code, reason=error.message)
            return
        if outcome.code:
            log.warning(
                "key.rotation_waits", key=key.key_id, due_ms=due_ms, code=outcome.code, reason=outcome.message
            )
            return
        self._retry_ms.pop(key.key_id, None)
        assert outcome.version is not None
        log.info(
            "key.rotated",
            key=key.key_id,
            version=outcome.version.version,
            due_ms=due_ms,
            replayed=outcome.replayed,
        )


def request_of(key: KeyRecord, due_ms: int) -> Request:
    """The identity of the one rotation of this key's version at this due time."""
    content = f"{key.key_id}/{key.primary}/{due_ms}"
    return make_request(str(uuid.uuid5(NAMESPACE, content)), PRINCIPAL, METHOD, content.encode())


def _possible(state: State, key: KeyRecord) -> bool:
    root = state.roots.get(state.active_epoch)
    required = Grade(key.required_grade) if key.required_grade else None
    return root is not None and satisfies(root.grade, required) and not key.disabled and not key.staged
