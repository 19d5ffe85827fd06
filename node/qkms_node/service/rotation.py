"""The leader's part in rotation: what the ledger says is due, or awaits QKD that the root has by now.

That a rotation is due stands in the ledger, by the ledger's time; so does that
a key which prefers QKD has a primary version without. The request id follows
from key, version and due time, so that two leaders, or one that repeats itself,
make one rotation. What cannot be done now (no root of the grade, a version
staged, the key disabled) stays due and is tried again.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

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
QKD_PRINCIPAL = "qkms:qkd-resumed"
QKD_METHOD = "rotation for QKD"
NAMESPACE = uuid.UUID("5a1a6a35-5d0e-4f0c-9a51-6c1f0e7a4f6e")

# Rotations in flight at once, and how many are begun before the ledger is looked at again.
TOGETHER = 16
PER_PASS = 256
RETRY_MS = 5_000

PERIOD_S = 0.5
PAUSE_S = 0.02


@dataclass(frozen=True)
class Due:
    """A key to rotate: since `due_ms`, or 0 because its primary version is without QKD."""

    key: KeyRecord
    due_ms: int

    @property
    def for_qkd(self) -> bool:
        """Whether it is for QKD alone."""
        return not self.due_ms

    @property
    def request(self) -> Request:
        """The identity of the one rotation of this key's version for this reason."""
        content = f"{self.key.key_id}/{self.key.primary}/{self.due_ms or 'qkd'}"
        principal, method = (QKD_PRINCIPAL, QKD_METHOD) if self.for_qkd else (PRINCIPAL, METHOD)
        return make_request(str(uuid.uuid5(NAMESPACE, content)), principal, method, content.encode())


class Rotator:
    """Rotates the keys whose period has ended, and those that QKD is back for, while this node leads."""

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
            if not state.rotation_due and not state.awaiting_qkd:
                self._retry_ms.clear()
                return
            possible = (one for one in _due(state) if self._retry_ms.get(one.key.key_id, 0) <= now_ms)
            due = list(islice(possible, PER_PASS))
        for start in range(0, len(due), TOGETHER):
            await asyncio.gather(*(self._rotate(one) for one in due[start : start + TOGETHER]))

    async def _rotate(self, due: Due) -> None:
        key = due.key
        # Not before the answer is known: a failure is an entry in the log, which wakes this loop again.
        self._retry_ms[key.key_id] = self._now_ms() + RETRY_MS
        try:
            new = await self._materials.draw(key.key_id, key.version_count + 1, key.algorithm)
            command = RotateKey(due.request, key.key_id, key.primary, new, due.due_ms, due.for_qkd)
            outcome = await self._proposer.submit(command)
        except QkmsError as error:
            self._log_wait(due, error.code, error.message)
            return
        if outcome.code:
            self._log_wait(due, outcome.code, outcome.message)
            return
        self._retry_ms.pop(key.key_id, None)
        assert outcome.version is not None
        log.info(
            "key.rotated",
            key=key.key_id,
            version=outcome.version.version,
            due_ms=due.due_ms,
            for_qkd=due.for_qkd,
            replayed=outcome.replayed,
        )

    @staticmethod
    def _log_wait(due: Due, code: str, reason: str) -> None:
        log.warning(
            "key.rotation_waits",
            key=due.key.key_id,
            due_ms=due.due_ms,
            for_qkd=due.for_qkd,
            code=code,
            reason=reason,
        )


def _due(state: State) -> Iterator[Due]:
    """What is to be rotated and can be, each key once."""
    root = state.roots.get(state.active_epoch)
    if root is None:
        return
    by_period = state.rotation_due.items()
    # While the root is without QKD none of these is even looked at.
    for_qkd = (
        ((k, 0) for k in state.awaiting_qkd if k not in state.rotation_due)
        if satisfies(root.grade, Grade.QKD)
        else ()
    )
    for key_id, due_ms in chain(by_period, for_qkd):
        key = state.keys[key_id]
        required = Grade(key.required_grade) if key.required_grade else None
        if satisfies(root.grade, required) and not key.disabled and not key.staged:
            yield Due(key, due_ms)
