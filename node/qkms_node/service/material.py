"""Key material of proposals: drawn or taken in, and proposed again while it is stale.

A proposal names the version number and the epoch it was made for; when the
ledger has moved on meanwhile, it is made again. How material is drawn and
validated is in `drawing`.
"""

from collections.abc import Awaitable, Callable

from qkms_node.errors import QkmsError
from qkms_node.keys.algorithms import ALGORITHMS
from qkms_node.keys.secret import VersionSecret
from qkms_node.keys.version import CheckValueMismatch, VersionBinding, check_version, unwrap_version
from qkms_node.ledger.commands import AnyCommand, NewVersion, Outcome
from qkms_node.ledger.key_conditions import PROPOSAL_STALE
from qkms_node.ledger.records import KeyRecord, RootRecord, VersionRecord
from qkms_node.service.drawing import Drawing
from qkms_node.service.freshness import LINEARIZABLE, Freshness
from qkms_node.service.proposing import Proposer, accepted
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

STALE_ATTEMPTS = 5


class Materials:
    """Makes, opens and proposes the material of versions."""

    def __init__(
        self, store: LedgerStore, roots: RootStore, drawing: Drawing, proposer: Proposer, freshness: Freshness
    ) -> None:
        self._store = store
        self._roots = roots
        self._drawing = drawing
        self._proposer = proposer
        self._freshness = freshness

    async def draw(self, key_id: str, version: int, algorithm: str) -> NewVersion:
        """Fresh random material. Raises QkmsError ROOT_NOT_READY."""
        return await self._drawing.draw(key_id, version, algorithm)

    def wrap(self, material: VersionSecret, key_id: str, version: int, algorithm: str) -> NewVersion:
        """Material as a proposal carries it, validated. Raises QkmsError ROOT_NOT_READY."""
        return self._drawing.wrap(material, key_id, version, algorithm)

    def open(self, key: KeyRecord, version: VersionRecord, root: RootRecord) -> VersionSecret:
        """The material of a version, compared with its check value and its public half.

        Raises QkmsError ROOT_NOT_READY, WrapRejected, CheckValueMismatch.
        """
        bound = VersionBinding(key.key_id, version.version, key.algorithm, version.epoch)
        material = unwrap_version(self._roots.kek(root), version.wrapped, bound)
        public = ALGORITHMS[key.algorithm].public_key(material)
        try:
            check_version(material, key.key_id, version.version, public, version.check_value)
            if public != version.public_key:
                raise CheckValueMismatch(
                    f"keys/{key.key_id}/versions/{version.version}: the public key is not that of the material"
                )
        except CheckValueMismatch:
            material.wipe()
            raise
        return material

    async def submit(self, propose: Callable[[], Awaitable[AnyCommand]]) -> Outcome:
        """The outcome of what `propose` makes; made again while it is stale. Raises QkmsError."""
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
