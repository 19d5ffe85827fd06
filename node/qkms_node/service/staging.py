"""Use cases on staged versions: stage, validate, activate, abort. The evidence comes from `evidence`."""

from qkms_node.access.guard import Guard
from qkms_node.consensus.replica import Replica
from qkms_node.ledger.commands import (
    AbortVersion,
    ActivateVersion,
    Outcome,
    Request,
    StageVersion,
    ValidateVersion,
)
from qkms_node.ledger.staging_rules import quorum
from qkms_node.ledger.state import State
from qkms_node.service.freshness import LINEARIZABLE, Freshness
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer
from qkms_node.service.store import LedgerStore

# The voters' evidence usually follows the staging within a tenth of a second.
EVIDENCE_S = 3.0


class Staging:
    """New versions that are validated by every voter before they are used."""

    def __init__(
        self,
        guard: Guard,
        replica: Replica,
        store: LedgerStore,
        proposer: Proposer,
        freshness: Freshness,
        materials: Materials,
    ) -> None:
        self._guard = guard
        self._replica = replica
        self._store = store
        self._proposer = proposer
        self._freshness = freshness
        self._materials = materials

    async def stage(self, request: Request, key_id: str) -> Outcome:
        """Makes a new version that waits for activation. Raises QkmsError."""
        self._guard.require(request.principal, "keys.stage", key_id)

        async def propose() -> StageVersion:
            with self._store.view() as state:
                key = state.key(key_id)
            new = await self._materials.draw(key_id, key.version_count + 1, key.algorithm)
            return StageVersion(request, key_id, new, voters(self._replica))

        return await self._materials.submit(propose)

    async def validate(self, request: Request, key_id: str, version: int) -> Outcome:
        """Declares a staged version valid, once a quorum has given its evidence. Raises QkmsError."""
        self._guard.require(request.principal, "keys.validate", key_id)
        await self._freshness.ensure(LINEARIZABLE)
        await self._store.wait_for(lambda state: _settled(state, key_id, version), EVIDENCE_S)
        return await self._proposer.effect(ValidateVersion(request, key_id, version))

    async def activate(self, request: Request, key_id: str, version: int, expected_primary: int) -> Outcome:
        """Makes a validated version the primary one. Raises QkmsError."""
        self._guard.require(request.principal, "keys.activate", key_id)
        return await self._proposer.effect(ActivateVersion(request, key_id, version, expected_primary))

    async def abort(self, request: Request, key_id: str, version: int, reason: str) -> Outcome:
        """Gives a staged version up."""
        self._guard.require(request.principal, "keys.abort", key_id)
        return await self._proposer.effect(AbortVersion(request, key_id, version, reason))


def voters(replica: Replica) -> tuple[str, ...]:
    """Whose evidence counts for a version that is staged now."""
    return tuple(sorted(replica.status().configuration.voters))


def _settled(state: State, key_id: str, number: int) -> bool:
    """Whether waiting for evidence no longer helps."""
    version = state.versions.get((key_id, number))
    if version is None or version.staging is None:
        return True
    enough = len(version.staging.confirmed) >= quorum(version.staging)
    return enough or (key_id, number) not in state.unconfirmed
