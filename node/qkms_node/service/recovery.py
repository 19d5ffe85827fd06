"""The recovery key: setting it, sealing every epoch to it, taking roots back from its holder.

Nodes know its public half alone; its shares exist only where an operator keeps
them. Sealing is the work of whoever would share the epoch (`service.sharing`),
before the epoch becomes active: nothing is ever under an epoch that the shares
would not bring back. What comes back is checked against the ledger's
commitments, so a wrong root is refused, whoever brings it.
"""

from dataclasses import dataclass

import structlog

from qkms.errors import CryptoError
from qkms.kem import HybridPublicKey
from qkms.recovery import handover, sealed_root
from qkms.sealed import open_sealed_to, seal_to
from qkms_node.access.guard import Guard
from qkms_node.config import Config
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.keys.root import check_commitment
from qkms_node.keys.secret import RootSecret
from qkms_node.ledger.commands import Outcome, SealToRecovery, SetRecovery
from qkms_node.ledger.records import RecoveryRecord, RootRecord
from qkms_node.ledger.recovery_rules import NEEDED
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootId, RootStore
from qkms_node.service.sharing import Sharing
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RecoveryView:
    """What is public of recovery, and the answering node's key for roots (None while it is sealed)."""

    recovery: RecoveryRecord | None
    sealed_roots: dict[int, bytes]
    node_key: HybridPublicKey | None


class Recovery:
    """Use cases of recovery, and the step that keeps every epoch recoverable."""

    def __init__(
        self,
        config: Config,
        guard: Guard,
        store: LedgerStore,
        roots: RootStore,
        proposer: Proposer,
        sharing: Sharing,
    ) -> None:
        self._cluster_id = config.cluster.id
        self._node_id = config.node.id
        self._guard = guard
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._sharing = sharing

    async def step(self, leader_id: str, connected: frozenset[str]) -> None:
        """Seals every epoch that is not yet, and is this node's to share, to the recovery key."""
        with self._store.view() as state:
            recovery = next(iter(state.recovery.values()), None)
            if recovery is None:
                return
            behind = [r for r in state.roots.values() if r.state in NEEDED and r.recovery_set != recovery.set_id]
        public = HybridPublicKey(recovery.mlkem_public, recovery.x25519_public)
        for root in behind:
            if not self._sharing.is_mine(root, leader_id, connected):
                continue
            purpose = sealed_root(self._cluster_id, recovery.set_id, root.epoch)
            sealed = seal_to(public, self._roots.root(root).reveal(), purpose)
            outcome = await self._proposer.effect(SealToRecovery(root.epoch, recovery.set_id, sealed))
            log.info("root.sealed_to_recovery", epoch=root.epoch, set=recovery.set_id, note=outcome.note)

    def get(self, principal: str) -> RecoveryView:
        """The recovery key and what is sealed to it, as this node knows it."""
        self._guard.require(principal, "recovery.get")
        with self._store.view() as state:
            recovery = next(iter(state.recovery.values()), None)
            sealed = {e: r.recovery_sealed for e, r in state.roots.items() if r.recovery_sealed}
        node_key = None if self._roots.sealed else self._roots.share_key.public
        return RecoveryView(recovery, sealed, node_key)

    async def set(self, command: SetRecovery) -> Outcome:
        """Sets the recovery key. Raises QkmsError RECOVERY_CONFLICT."""
        self._guard.require(command.request.principal, "recovery.set")
        if not 2 <= command.threshold <= command.share_count <= 255:
            raise InvalidField("recovery.threshold", "must be at least 2, and at most the number of shares (255)")
        try:
            HybridPublicKey(command.mlkem_public, command.x25519_public)
        except CryptoError as error:
            raise InvalidField("recovery.public_key", str(error)) from error
        return await self._proposer.effect(command)

    def open(self, principal: str, set_id: str, sealed_roots: dict[int, bytes]) -> list[int]:
        """Takes the roots that the recovery key opened; the epochs held then. All of them or none.

        Raises QkmsError SEALED, EPOCH_NOT_FOUND, RECOVERY_REJECTED.
        """
        self._guard.require(principal, "recovery.open")
        key = self._roots.share_key
        taken: dict[RootId, RootSecret] = {}
        for epoch, sealed in sealed_roots.items():
            record = self._record(epoch)
            if self._roots.holds(record):
                continue
            try:
                root = RootSecret(
                    open_sealed_to(key, sealed, handover(self._cluster_id, set_id, epoch, self._node_id))
                )
                check_commitment(root, self._cluster_id, epoch, record.commitment)
            except CryptoError as error:
                raise QkmsError(
                    "RECOVERY_REJECTED",
                    f"root epoch {epoch} was not taken: {error}; nothing has changed",
                    epoch=epoch,
                ) from error
            taken[epoch, record.commitment] = root
        self._roots.keep_all(taken)
        log.warning("root.recovered", principal=principal, set=set_id, epochs=sorted(e for e, _ in taken))
        return self._roots.open_epochs()

    def _record(self, epoch: int) -> RootRecord:
        with self._store.view() as state:
            record = state.roots.get(epoch)
        if record is None or record.state not in NEEDED:
            raise QkmsError("EPOCH_NOT_FOUND", f"there is no root epoch {epoch} that is in use", epoch=epoch)
        return record
