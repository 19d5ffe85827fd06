"""Use cases of KeyService: authorise, draw material if needed, propose; or read.

New key material is drawn and checked (`service.drawing`) before it is proposed.
When the ledger has moved on meanwhile, material is drawn again.
"""

from collections.abc import Awaitable, Callable

from qkms_node.access.guard import Guard
from qkms_node.errors import QkmsError
from qkms_node.ledger.commands import (
    AnyCommand,
    CreateKey,
    DestroyVersion,
    DisableVersion,
    EnableVersion,
    Outcome,
    Request,
    RestoreVersion,
    RotateKey,
)
from qkms_node.ledger.key_rules import PROPOSAL_STALE
from qkms_node.ledger.records import KeyRecord, VersionRecord
from qkms_node.ledger.state import State
from qkms_node.service.drawing import Drawing
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Wanted
from qkms_node.service.proposing import Proposer, accepted
from qkms_node.service.store import LedgerStore

STALE_ATTEMPTS = 5

# The state changes of a version: command type by the action that allows it.
VERSION_CHANGES: dict[str, type[DisableVersion | EnableVersion | RestoreVersion]] = {
    "keys.disable": DisableVersion,
    "keys.enable": EnableVersion,
    "keys.restore": RestoreVersion,
}


class Keys:
    """Creation, rotation, state changes and listings of keys."""

    def __init__(
        self, guard: Guard, store: LedgerStore, drawing: Drawing, proposer: Proposer, freshness: Freshness
    ) -> None:
        self._guard = guard
        self._store = store
        self._drawing = drawing
        self._proposer = proposer
        self._freshness = freshness

    async def create(
        self,
        request: Request,
        key_id: str,
        algorithm: str,
        required_grade: int,
        max_staleness_ms: int,
        labels: dict[str, str],
    ) -> Outcome:
        """Creates a key with version 1. Raises QkmsError."""
        self._guard.require(request.principal, "keys.create", key_id)

        async def propose() -> CreateKey:
            new = await self._drawing.draw(key_id, 1, algorithm)
            return CreateKey(request, key_id, algorithm, required_grade, max_staleness_ms, labels, new)

        return await self._submit_drawn(propose)

    async def rotate(self, request: Request, key_id: str, expected_primary: int) -> Outcome:
        """Makes a new primary version. Raises QkmsError."""
        self._guard.require(request.principal, "keys.rotate", key_id)

        async def propose() -> RotateKey:
            with self._store.view() as state:
                key = state.key(key_id)
            new = await self._drawing.draw(key_id, key.version_count + 1, key.algorithm)
            return RotateKey(request, key_id, expected_primary, new)

        return await self._submit_drawn(propose)

    async def change(self, action: str, request: Request, key_id: str, version: int) -> Outcome:
        """Disables, enables or restores a version; `action` is one of VERSION_CHANGES."""
        self._guard.require(request.principal, action, key_id)
        return await self._proposer.effect(VERSION_CHANGES[action](request, key_id, version))

    async def destroy(self, request: Request, key_id: str, version: int, grace_ms: int) -> Outcome:
        """Schedules a version's destruction after `grace_ms`."""
        self._guard.require(request.principal, "keys.destroy", key_id)
        return await self._proposer.effect(DestroyVersion(request, key_id, version, grace_ms))

    async def get(self, principal: str, key_id: str, wanted: Wanted) -> KeyRecord:
        """One key."""
        self._guard.require(principal, "keys.get", key_id)
        await self._freshness.ensure(wanted)
        with self._store.view() as state:
            return state.key(key_id)

    async def page(self, principal: str, after: str, limit: int, wanted: Wanted) -> list[KeyRecord]:
        """Up to `limit` keys the principal may see, by key_id, after `after`."""
        self._guard.require(principal, "keys.list")
        await self._freshness.ensure(wanted)
        with self._store.view() as state:
            names = sorted(name for name in state.keys if name > after)
            records = [state.keys[name] for name in names]
        visible = (r for r in records if self._guard.allows(principal, "keys.list", r.key_id))
        return [record for record, _ in zip(visible, range(limit), strict=False)]

    async def versions(
        self, principal: str, key_id: str, after: int, limit: int, wanted: Wanted
    ) -> list[tuple[VersionRecord, tuple[str, ...]]]:
        """Up to `limit` versions after number `after`, each with the QKD key ids of its epoch."""
        self._guard.require(principal, "keys.get", key_id)
        await self._freshness.ensure(wanted)
        with self._store.view() as state:
            last = min(state.key(key_id).version_count, after + limit)
            return [provenance(state, state.versions[key_id, n]) for n in range(after + 1, last + 1)]

    def with_provenance(self, version: VersionRecord) -> tuple[VersionRecord, tuple[str, ...]]:
        """A version with the QKD key ids of its root epoch."""
        with self._store.view() as state:
            return provenance(state, version)

    async def _submit_drawn(self, propose: Callable[[], Awaitable[AnyCommand]]) -> Outcome:
        for _ in range(STALE_ATTEMPTS):
            # Material is drawn for the state as it is now, also on a node that lags behind.
            await self._freshness.ensure(LINEARIZABLE)
            outcome = await self._proposer.submit(await propose())
            if outcome.code != PROPOSAL_STALE:
                return accepted(outcome)
        raise QkmsError(
            "NOT_COMMITTED",
            "nothing was written: the key changed during each of several attempts; retry",
            retry_after_s=0.2,
        )


def provenance(state: State, version: VersionRecord) -> tuple[VersionRecord, tuple[str, ...]]:
    """A version with the QKD key ids mixed into its root epoch."""
    root = state.roots.get(version.epoch)
    return version, root.qkd_key_ids if root else ()
