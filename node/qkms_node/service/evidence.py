"""A node as voter on staged versions: opening each, comparing its check value, saying so.

For each staged version whose evidence this node owes: open it under the root
this node holds, compare, and propose what was found. Repeating a step after a
crash changes nothing. A root that is not held yet is waited for; material
that does not open under the right root is rejected, which ends the version.
"""

import structlog

from qkms_node.keys.errors import CheckValueMismatch, WrapRejected
from qkms_node.ledger.commands import ConfirmVersion, RejectVersion
from qkms_node.ledger.records import KeyRecord, RootRecord, VersionRecord
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)


class Witness:
    """Gives this node's evidence on staged versions."""

    def __init__(
        self, node_id: str, store: LedgerStore, roots: RootStore, materials: Materials, proposer: Proposer
    ) -> None:
        self._node_id = node_id
        self._store = store
        self._roots = roots
        self._materials = materials
        self._proposer = proposer

    async def step(self) -> None:
        """Opens and settles whatever the ledger waits for from this node; one pass."""
        with self._store.view() as state:
            revision = state.revision
            owed = [
                (state.keys[key_id], version, state.roots[version.epoch])
                for key_id, number in state.unconfirmed
                if self._owes(version := state.versions[key_id, number])
            ]
        for key, version, root in owed:
            if self._roots.holds(root):
                await self._settle(key, version, root, revision)

    def _owes(self, version: VersionRecord) -> bool:
        staging = version.staging
        if staging is None or self._node_id not in staging.voters:
            return False
        return self._node_id not in staging.confirmed and self._node_id not in staging.rejected

    async def _settle(self, key: KeyRecord, version: VersionRecord, root: RootRecord, revision: int) -> None:
        name = f"keys/{key.key_id}/versions/{version.version}"
        problem = ""
        try:
            self._materials.open(key, version, root).wipe()
        except (WrapRejected, CheckValueMismatch) as error:
            problem = str(error)
        if problem:
            log.error("version.rejected", version=name, reason=problem)
            await self._proposer.submit(RejectVersion(key.key_id, version.version, self._node_id, problem))
            return
        outcome = await self._proposer.submit(
            ConfirmVersion(key.key_id, version.version, self._node_id, version.check_value, revision)
        )
        log.info("version.confirmed", version=name, note=outcome.note, refused=outcome.code)
