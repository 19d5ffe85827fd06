"""Use cases of KeyService on keys and single versions: authorise, then propose or read.

Staged versions are in `staging`, material that comes in or goes out in
`transport`.
"""

import asyncio
from dataclasses import dataclass, field

from msgspec.structs import replace

from qkms_node.access.guard import Guard
from qkms_node.ledger.commands import (
    CompromiseVersion,
    CreateKey,
    DeleteKey,
    DestroyVersion,
    DisableKey,
    DisableVersion,
    EnableKey,
    EnableVersion,
    KeyChanges,
    Outcome,
    Request,
    RestoreVersion,
    RotateKey,
    UpdateKey,
)
from qkms_node.ledger.provenance_rules import provenance_of
from qkms_node.ledger.records import KeyRecord, VersionRecord, VersionState
from qkms_node.ledger.state import State
from qkms_node.service.freshness import Freshness, Wanted
from qkms_node.service.listing import KeyFilter, look
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer
from qkms_node.service.reading import admit
from qkms_node.service.store import LedgerStore

# The state changes of a version: command type by the action that allows it.
VERSION_CHANGES: dict[str, type[DisableVersion | EnableVersion | RestoreVersion]] = {
    "keys.disable": DisableVersion,
    "keys.enable": EnableVersion,
    "keys.restore": RestoreVersion,
}

# The same actions on a key as a whole.
KEY_CHANGES: dict[str, type[DisableKey | EnableKey]] = {"keys.disable": DisableKey, "keys.enable": EnableKey}


@dataclass(frozen=True)
class KeySettings:
    """What a new key is like. Durations in milliseconds; `required_grade` 0: any; `rotation_period_ms` and
    `max_qber` 0: none."""

    algorithm: str
    required_grade: int
    max_staleness_ms: int
    labels: dict[str, str] = field(default_factory=dict)
    rotation_period_ms: int = 0
    exportable: bool = False
    deletion_protection: bool = False
    allow_compromised_decrypt: bool = False
    skip_initial_version: bool = False
    prefer_qkd: bool = False
    refuse_relays: bool = False
    max_qber: float = 0.0


class Keys:
    """Creation, rotation, changes of keys and versions, listings."""

    def __init__(
        self, guard: Guard, store: LedgerStore, proposer: Proposer, freshness: Freshness, materials: Materials
    ) -> None:
        self._guard = guard
        self._store = store
        self._proposer = proposer
        self._freshness = freshness
        self._materials = materials

    async def create(self, request: Request, key_id: str, settings: KeySettings) -> Outcome:
        """Creates a key with version 1, or without a version. Raises QkmsError."""
        self._guard.require(request.principal, "keys.create", key_id)

        async def propose() -> CreateKey:
            new = None
            if not settings.skip_initial_version:
                new = await self._materials.draw(key_id, 1, settings.algorithm)
            return CreateKey(
                request,
                key_id,
                settings.algorithm,
                settings.required_grade,
                settings.max_staleness_ms,
                settings.labels,
                new,
                settings.rotation_period_ms,
                settings.exportable,
                settings.deletion_protection,
                settings.allow_compromised_decrypt,
                settings.prefer_qkd,
                settings.refuse_relays,
                settings.max_qber,
            )

        return await self._materials.submit(propose)

    async def rotate(self, request: Request, key_id: str, expected_primary: int) -> Outcome:
        """Makes a new primary version. Raises QkmsError."""
        self._guard.require(request.principal, "keys.rotate", key_id)

        async def propose() -> RotateKey:
            with self._store.view() as state:
                key = state.key(key_id)
            new = await self._materials.draw(key_id, key.version_count + 1, key.algorithm)
            return RotateKey(request, key_id, expected_primary, new)

        return await self._materials.submit(propose)

    async def update(self, request: Request, key_id: str, changes: KeyChanges, expected_revision: int) -> Outcome:
        """Changes settings of a key; only at `expected_revision` unless that is 0."""
        self._guard.require(request.principal, "keys.update", key_id)
        return await self._proposer.effect(UpdateKey(request, key_id, changes, expected_revision))

    async def switch(self, action: str, request: Request, key_id: str) -> Outcome:
        """Disables or enables a key; `action` is one of KEY_CHANGES."""
        self._guard.require(request.principal, action, key_id)
        return await self._proposer.effect(KEY_CHANGES[action](request, key_id))

    async def delete(self, request: Request, key_id: str, expected_revision: int) -> Outcome:
        """Deletes a key whose versions are all destroyed."""
        self._guard.require(request.principal, "keys.delete", key_id)
        return await self._proposer.effect(DeleteKey(request, key_id, expected_revision))

    async def change(self, action: str, request: Request, key_id: str, version: int) -> Outcome:
        """Disables, enables or restores a version; `action` is one of VERSION_CHANGES."""
        self._guard.require(request.principal, action, key_id)
        return await self._proposer.effect(VERSION_CHANGES[action](request, key_id, version))

    async def compromise(self, request: Request, key_id: str, version: int, reason: str) -> Outcome:
        """Marks a version as compromised, for good."""
        self._guard.require(request.principal, "keys.compromise", key_id)
        return await self._proposer.effect(CompromiseVersion(request, key_id, version, reason))

    async def destroy(self, request: Request, key_id: str, version: int, grace_ms: int) -> Outcome:
        """Schedules a version's destruction after `grace_ms`."""
        self._guard.require(request.principal, "keys.destroy", key_id)
        return await self._proposer.effect(DestroyVersion(request, key_id, version, grace_ms))

    async def get(self, principal: str, key_id: str, wanted: Wanted) -> KeyRecord:
        """One key."""
        await admit(self._guard, self._freshness, wanted, principal, "keys.get", key_id)
        with self._store.view() as state:
            return state.key(key_id)

    async def page(
        self, principal: str, passing: KeyFilter, after: str, limit: int, wanted: Wanted
    ) -> list[KeyRecord]:
        """Up to `limit` keys the principal may see, by key_id, after `after`."""
        await admit(self._guard, self._freshness, wanted, principal, "keys.list")
        visible: list[KeyRecord] = []
        while True:
            with self._store.view() as state:
                seen = look(state, passing, after, limit)
            # Outside the view: the guard looks at the ledger itself.
            visible += (key for key in seen.keys if self._guard.allows(principal, "keys.list", key.key_id))
            if len(visible) >= limit or not seen.after:
                return visible[:limit]
            after = seen.after
            await asyncio.sleep(0)

    async def versions(
        self,
        principal: str,
        key_id: str,
        states: frozenset[VersionState],
        after: int,
        limit: int,
        wanted: Wanted,
    ) -> list[tuple[VersionRecord, tuple[str, ...]]]:
        """Up to `limit` versions after number `after` in one of `states` (none: any), with their QKD key ids."""
        await admit(self._guard, self._freshness, wanted, principal, "keys.get", key_id)
        with self._store.view() as state:
            numbers = range(after + 1, state.key(key_id).version_count + 1)
            passing = (v for n in numbers if (v := state.versions[key_id, n]).state in states or not states)
            return [provenance(state, version) for version, _ in zip(passing, range(limit), strict=False)]

    def with_provenance(self, version: VersionRecord) -> tuple[VersionRecord, tuple[str, ...]]:
        """A version with the QKD key ids of its root epoch."""
        with self._store.view() as state:
            return provenance(state, version)


def provenance(state: State, version: VersionRecord) -> tuple[VersionRecord, tuple[str, ...]]:
    """A version with the QKD key ids mixed into its root epoch; `relayed` and `qber` as of now."""
    root = state.roots.get(version.epoch)
    seen = provenance_of(state, version)
    return replace(version, relayed=seen.relayed, qber=seen.qber), root.qkd_key_ids if root else ()
