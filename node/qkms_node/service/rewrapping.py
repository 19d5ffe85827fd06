"""The leader's part in leaving old epochs: rewrap their key versions, then end them.

One batch at a time, each one log entry: a compare-and-swap per version, so a
new leader simply goes on, and two at once do no harm. Progress is the ledger
itself. The wait before the first batch lets every member open the new epoch,
or those that have not could not use what was moved under it. Versions of a
higher grade than the active epoch's, and those of keys that demand better QKD
keys than its own (`provenance_rules`), stay where they are until one comes that is good enough for them.
"""

import asyncio
import secrets
from collections.abc import Callable

import msgspec
import structlog

from qkms_node.keys.errors import WrapRejected
from qkms_node.keys.version import VersionBinding, unwrap_version, wrap_version
from qkms_node.ledger.commands import DestroyRoot, Rewrapped, RewrapVersions
from qkms_node.ledger.provenance_rules import NO_DEMANDS, demands_of, names_demanding_more, provenance_of_root
from qkms_node.ledger.records import EpochState, KeyRecord, RootRecord, VersionRecord
from qkms_node.ledger.rewrap_rules import movable
from qkms_node.ledger.tables import Captured
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

BATCH_VERSIONS = 128
BATCH_BYTES = 256 * 1024

# How long members that have not confirmed the new epoch are waited for.
SETTLE_MS = 10_000

# Where something still holds an old epoch (a session, a higher grade), how often to look again.
LOOK_AGAIN_MS = 2_000

VersionId = tuple[str, int]


class Rewrapping:
    """Takes the next step; called while this node leads and holds the active root."""

    def __init__(
        self, store: LedgerStore, roots: RootStore, proposer: Proposer, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._now_ms = now_ms
        self._epoch = 0
        self._queue: list[VersionId] = []
        self._damaged: set[VersionId] = set()
        self._look_ms = 0
        self.waiting = ""

    async def step(self) -> None:
        """Moves one batch, or ends the epochs that nothing uses any more."""
        self.waiting = self._damage()
        with self._store.view() as state:
            active = state.roots.get(state.active_epoch)
            retired = [root for root in state.roots.values() if root.state is EpochState.RETIRED]
        if active is None or not retired or not self._roots.holds(active):
            return
        if set(active.confirmed) < set(active.voters) and self._now_ms() - active.activate_ms < SETTLE_MS:
            return
        if self._epoch != active.epoch:
            self._epoch, self._queue, self._look_ms = active.epoch, [], 0
        if not self._queue:
            if self._now_ms() < self._look_ms:
                return
            self._queue = await self._behind(active)
        if self._queue:
            await self._move_batch(active)
        else:
            self._look_ms = self._now_ms() + LOOK_AGAIN_MS
            await self._end(retired)

    def _damage(self) -> str:
        if not self._damaged:
            return ""
        names = ", ".join(f"keys/{key_id}/versions/{number}" for key_id, number in sorted(self._damaged)[:3])
        return f"{len(self._damaged)} versions do not open and were not rewrapped: {names}"

    async def _behind(self, active: RootRecord) -> list[VersionId]:
        with self._store.view() as state:
            if set(state.versions.counts["epoch"]) <= {active.epoch}:
                return []
            keys = state.keys.capture()
            versions = state.versions.capture()
        # On a thread: a large ledger is looked through while calls are served.
        found = await asyncio.to_thread(_movable, keys, versions, active)
        return [i for i in found if i not in self._damaged]

    async def _move_batch(self, active: RootRecord) -> None:
        moved: list[Rewrapped] = []
        size = 0
        while self._queue and len(moved) < BATCH_VERSIONS and size < BATCH_BYTES:
            item = self._rewrapped(self._queue.pop(), active)
            if item is not None:
                moved.append(item)
                size += len(item.wrapped)
        if moved:
            outcome = await self._proposer.effect(RewrapVersions(active.epoch, tuple(moved)))
            log.info("root.rewrapped", epoch=active.epoch, left=len(self._queue), note=outcome.note)
        if not self._queue:
            # Versions that this node could not move stay behind: not to be looked for at once again.
            self._look_ms = 0 if moved else self._now_ms() + LOOK_AGAIN_MS

    def _rewrapped(self, version_id: VersionId, active: RootRecord) -> Rewrapped | None:
        key_id, number = version_id
        with self._store.view() as state:
            key, version = state.keys.get(key_id), state.versions.get(version_id)
            source = state.roots.get(version.epoch) if version is not None else None
        if key is None or version is None or source is None:
            return None
        if not movable(version, active, demands_of(key)):
            return None
        if not self._roots.holds(source):
            self.waiting = f"the leader has not opened root epoch {source.epoch}, under which versions are"
            return None
        try:
            wrapped = self._wrap(key_id, key.algorithm, version, source, active)
        except WrapRejected as error:
            self._damaged.add(version_id)
            log.error("root.rewrap_failed", key=key_id, version=number, error=str(error))
            return None
        return Rewrapped(key_id, number, source.epoch, wrapped)

    def _wrap(
        self, key_id: str, algorithm: str, version: VersionRecord, source: RootRecord, active: RootRecord
    ) -> bytes:
        bound = VersionBinding(key_id, version.version, algorithm, source.epoch)
        with unwrap_version(self._roots.kek(source), version.wrapped, bound) as material:
            target = VersionBinding(key_id, version.version, algorithm, active.epoch)
            return wrap_version(self._roots.kek(active), material, target, secrets.token_bytes(12))

    async def _end(self, retired: list[RootRecord]) -> None:
        with self._store.view() as state:
            used = state.versions.counts["epoch"] + state.sessions.counts["epoch"] + state.sae_keys.counts["epoch"]
            imports = {wrapping.epoch for wrapping in state.wrappings.values()}
        for root in retired:
            if used[root.epoch] or root.epoch in imports:
                continue
            outcome = await self._proposer.submit(DestroyRoot(root.epoch))
            log.info("root.destroyed", epoch=root.epoch, note=outcome.note, refused=outcome.code)


def _movable(keys: Captured[KeyRecord], versions: Captured[VersionRecord], active: RootRecord) -> list[VersionId]:
    """Ids of those that are to be moved under the active epoch."""
    kept = names_demanding_more(keys, provenance_of_root(active))
    behind = (
        msgspec.msgpack.decode(stored, type=VersionId)
        for stored, version in versions
        if movable(version, active, NO_DEMANDS)
    )
    return [version_id for version_id in behind if version_id[0] not in kept]
