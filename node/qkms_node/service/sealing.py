"""Sealing and unsealing this node.

Sealing wipes first and tells afterwards: it must work without a quorum. A
node that keeps nothing on disk (mode `peers`) then lets the ledger know that it
holds the roots no more, and one that leads hands over.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import structlog

from qkms_node.access.guard import Guard
from qkms_node.config import Config
from qkms_node.consensus.replica import ConsensusError, Replica, Role
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.seal import SealError, SealRejected, SecretNeeded
from qkms_node.service.shares import Voter
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

HAND_OVER_S = 1.0


@dataclass(frozen=True)
class SealView:
    """How this node is sealed now; see SealStatus in cluster.proto."""

    mode: str
    sealed: bool
    reason: str
    needs_secret: bool
    stored: bool


class Sealing:
    """Seal, unseal, and what there is to see of it."""

    def __init__(
        self, config: Config, guard: Guard, replica: Replica, store: LedgerStore, roots: RootStore, voter: Voter
    ) -> None:
        self._node_id = config.node.id
        self._own_name = f"spiffe://{config.tls.trust_domain}/node/{config.node.id}"
        self._guard = guard
        self._replica = replica
        self._store = store
        self._roots = roots
        self._voter = voter
        self._one_at_a_time = asyncio.Lock()

    def view(self) -> SealView:
        """How this node is sealed now."""
        roots = self._roots
        return SealView(
            mode=roots.mode,
            sealed=roots.sealed,
            reason=roots.reason if roots.sealed else "",
            needs_secret=roots.needs_secret,
            stored=roots.stored,
        )

    async def seal(self, principal: str, even_if_last: bool) -> bool:
        """Wipes roots and keys from this node's memory; False when it was sealed before.

        Raises QkmsError LAST_HOLDER.
        """
        self._guard.require(principal, "seal.seal")
        async with self._one_at_a_time:
            if self._roots.mode == "peers" and not self._roots.sealed and not even_if_last:
                self._require_another_holder()
            changed = self._roots.seal()
            if not changed:
                return False
            log.warning("node.sealed", principal=principal)
            with suppress(QkmsError):
                if self._roots.mode == "peers":
                    await self._voter.give_up("an operator sealed this node, which keeps no root on disk")
            if self._replica.status().role is Role.LEADER:
                with suppress(ConsensusError):
                    await self._replica.transfer_leadership(None, HAND_OVER_S)
            return True

    async def unseal(self, principal: str, secret: bytes) -> bool:
        """Opens the root store; False when it was open. The node's own certificate may do it as well.

        Raises QkmsError UNSEAL_REJECTED or SEAL_UNUSABLE; InvalidField when a secret is missing.
        """
        if principal != self._own_name:
            self._guard.require(principal, "seal.unseal")
        async with self._one_at_a_time:
            try:
                # Argon2id and tokens take their time: not on the event loop.
                changed = await asyncio.to_thread(self._roots.unseal, secret)
            except SecretNeeded as error:
                raise InvalidField("secret", str(error)) from error
            except SealRejected as error:
                log.warning("node.unseal_rejected", principal=principal)
                raise QkmsError("UNSEAL_REJECTED", f"node {self._node_id} stays sealed: {error}") from error
            except SealError as error:
                raise QkmsError("SEAL_UNUSABLE", f"node {self._node_id} stays sealed: {error}") from error
        if changed:
            log.warning("node.unsealed", principal=principal)
            self._store.wake()
        return changed

    def _require_another_holder(self) -> None:
        with self._store.view() as state:
            root = state.roots.get(state.active_epoch)
        connected = self._replica.status().connected
        if root is not None and self._roots.holds(root) and not connected & set(root.confirmed):
            raise QkmsError(
                "LAST_HOLDER",
                f"no other node is seen to hold root epoch {root.epoch}, and this one keeps nothing on disk: "
                "once it is sealed, only recovery shares open the cluster; say so with --even-if-last",
                epoch=root.epoch,
            )
