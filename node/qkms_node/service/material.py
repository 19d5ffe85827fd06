"""Key material: drawn or taken in, wrapped under the active root epoch, opened again before it is proposed.

A version that does not open, or opens to another check value, is never
proposed. A proposal names the version number and the epoch it was made for;
when the ledger has moved on meanwhile, it is made again.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable

from qkms_node.errors import QkmsError
from qkms_node.keys.secret import VersionSecret
from qkms_node.keys.version import VersionBinding, check_value, unwrap_version, wrap_version
from qkms_node.ledger.commands import AnyCommand, NewVersion, Outcome
from qkms_node.ledger.key_conditions import PROPOSAL_STALE
from qkms_node.ledger.records import KeyRecord, RootRecord, VersionRecord
from qkms_node.service.freshness import LINEARIZABLE, Freshness
from qkms_node.service.proposing import Proposer, accepted
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

STALE_ATTEMPTS = 5


class Materials:
    """Makes, opens and proposes the material of versions."""

    def __init__(self, store: LedgerStore, roots: RootStore, proposer: Proposer, freshness: Freshness) -> None:
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._freshness = freshness

    async def draw(self, key_id: str, version: int, algorithm: str) -> NewVersion:
        """Fresh random material. Raises QkmsError ROOT_NOT_READY."""
        with VersionSecret(secrets.token_bytes(32)) as material:
            return self.wrap(material, key_id, version, algorithm)

    def wrap(self, material: VersionSecret, key_id: str, version: int, algorithm: str) -> NewVersion:
        """Material as a proposal carries it, validated. Raises QkmsError ROOT_NOT_READY."""
        with self._store.view() as state:
            root = state.active_root()
        kek = self._roots.kek(root)
        bound = VersionBinding(key_id, version, algorithm, root.epoch)
        wrapped = wrap_version(kek, material, bound, nonce=secrets.token_bytes(12))
        check = check_value(material, key_id, version)
        with unwrap_version(kek, wrapped, bound) as opened:
            if not hmac.compare_digest(check_value(opened, key_id, version), check):
                raise QkmsError("INTERNAL", f"the new version of keys/{key_id} did not pass its validation")
        return NewVersion(version, root.epoch, wrapped, check)

    def open(self, key: KeyRecord, version: VersionRecord, root: RootRecord) -> VersionSecret:
        """The material of a version. Raises QkmsError ROOT_NOT_READY, WrapRejected."""
        bound = VersionBinding(key.key_id, version.version, key.algorithm, version.epoch)
        return unwrap_version(self._roots.kek(root), version.wrapped, bound)

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
