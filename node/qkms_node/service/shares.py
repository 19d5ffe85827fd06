"""A node as voter: opening its shares of the root, storing them, saying so.

For each epoch of the ledger whose root this node lacks: collect the QKD key
the share names from the own KME, open the share, check the commitment, store
the root durably, and only then confirm. Each step may be repeated after a
crash at any point: a root already stored is confirmed again, which changes
nothing. What certainly cannot succeed is rejected with its reason; what may
succeed later (a KME that does not answer) is waited for.
"""

import structlog

from qkms.errors import CryptoError
from qkms.kem import HybridCiphertext
from qkms_node.config import Config
from qkms_node.keys.grade import Grade
from qkms_node.keys.root import check_commitment
from qkms_node.keys.secret import RootSecret
from qkms_node.keys.share import Binding, SealedShare, open_share
from qkms_node.ledger.commands import ConfirmRoot, RegisterNode, RejectShare
from qkms_node.ledger.records import EpochState, RootRecord, ShareRecord
from qkms_node.service.admitted_key import AdmittedKey
from qkms_node.service.links import Links
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore
from qkms_qkd.errors import LinkError

log = structlog.get_logger(__name__)

ENDED = frozenset({EpochState.ABORTED, EpochState.DESTROYED})

# Failures of a link that time may mend: wait. All others are definite: reject the share.
TRANSIENT = frozenset({"KME_UNREACHABLE", "KME_UNAUTHORIZED", "KME_BAD_ANSWER", "LINK_DOWN"})


class Voter:
    """Keeps this node's roots in step with the ledger."""

    def __init__(
        self, config: Config, store: LedgerStore, roots: RootStore, links: Links, proposer: Proposer
    ) -> None:
        self._node_id = config.node.id
        self._cluster_id = config.cluster.id
        self._store = store
        self._roots = roots
        self._links = links
        self._proposer = proposer
        self.waiting = ""

    async def register(self) -> None:
        """Makes the ledger know this node's present public keys for shares."""
        public = self._roots.share_key.public
        with self._store.view() as state:
            known = state.nodes.get(self._node_id)
        if known is None or (known.mlkem_public, known.x25519_public) != (public.mlkem, public.x25519):
            await self._proposer.effect(RegisterNode(self._node_id, public.mlkem, public.x25519))
            log.info("node.registered")

    async def catch_up(self) -> None:
        """Opens and confirms whatever the ledger has for this node; one pass."""
        self.waiting = ""
        with self._store.view() as state:
            epochs = [root for root in state.roots.values() if root.state not in ENDED]
        for root in epochs:
            if self._node_id not in root.voters and self._node_id not in root.shares:
                continue
            if self._roots.holds(root):
                # Also after it rejected its share: recovery may have brought the root since.
                if self._node_id not in root.confirmed:
                    await self._confirm(root)
            elif self._node_id not in root.rejected:
                await self._open(root)

    async def give_up(self, reason: str) -> None:
        """Says that this node holds the root of no epoch in use any more."""
        with self._store.view() as state:
            in_use = [r for r in state.roots.values() if r.state in (EpochState.ACTIVE, EpochState.RETIRED)]
        for root in in_use:
            share = root.shares.get(self._node_id)
            await self._reject(root, share.sealed if share is not None else b"", reason)

    def erase_ended(self) -> None:
        """Erases the roots of epochs that were aborted, destroyed, or not this cluster's after all.

        Only for a node whose ledger has caught up: an old one does not know of a restore in progress.
        """
        with self._store.view() as state:
            records = dict(state.roots)
            coming = {item for restore in state.restores.values() for item in restore.commitments.items()}
        ended = [
            (epoch, commitment)
            for epoch, commitment in self._roots.held()
            if (record := records.get(epoch)) is not None
            and (record.commitment != commitment or record.state in ENDED)
            and (epoch, commitment) not in coming
        ]
        if ended:
            self._roots.erase(ended)
            log.info("root.erased", epochs=[epoch for epoch, _ in ended])

    async def _open(self, root: RootRecord) -> None:
        share = root.shares.get(self._node_id)
        if share is None:
            if self._node_id in root.confirmed:
                await self._reject(root, b"", "this node has lost its root store and has no share")
            else:
                self.waiting = f"epoch {root.epoch}: no share for this node yet"
            return
        if root.grade is not Grade.PQC and not share.qkd_key_id:
            await self._reject(root, share.sealed, f"the share names no QKD key, the epoch is {root.grade.name}")
            return
        try:
            psk = await self._collect(share)
        except LinkError as error:
            if error.code in TRANSIENT:
                self.waiting = f"epoch {root.epoch}: {error}"
            else:
                await self._reject(root, share.sealed, str(error))
            return
        if psk is not None and (untold := set(psk.relays) - set(share.relays)):
            # The ledger would call an epoch free of relays that is not.
            passed = f"QKD key {psk.key_id} has passed {', '.join(sorted(untold))} by the KME of this node"
            await self._reject(root, share.sealed, f"{passed}, which that of {share.leader_id} does not tell")
            return
        try:
            secret = self._unseal(root, share, psk)
        except CryptoError as error:
            ends = self._links.ends(share.leader_id)
            source = f" (QKD key {share.qkd_key_id} from {ends})" if share.qkd_key_id else ""
            await self._reject(root, share.sealed, f"{error}{source}")
            return
        self._roots.keep(root.epoch, root.commitment, secret)
        await self._confirm(root)

    async def _collect(self, share: ShareRecord) -> AdmittedKey | None:
        if not share.qkd_key_id:
            return None
        return await self._links.collect(share.leader_id, share.qkd_key_id)

    def _unseal(self, root: RootRecord, share: ShareRecord, psk: AdmittedKey | None) -> RootSecret:
        bound = Binding(self._cluster_id, root.epoch, share.leader_id, self._node_id, share.qkd_key_id)
        sealed = SealedShare(HybridCiphertext(share.mlkem_ciphertext, share.x25519_public), share.sealed)
        secret = open_share(sealed, bound, self._roots.share_key, psk.secret if psk else None)
        check_commitment(secret, self._cluster_id, root.epoch, root.commitment)
        return secret

    async def _confirm(self, root: RootRecord) -> None:
        outcome = await self._proposer.submit(ConfirmRoot(root.epoch, self._node_id, root.commitment))
        log.info("root.confirmed", epoch=root.epoch, note=outcome.note, refused=outcome.code)

    async def _reject(self, root: RootRecord, sealed: bytes, reason: str) -> None:
        log.error("root.share_rejected", epoch=root.epoch, reason=reason)
        self.waiting = f"epoch {root.epoch}: {reason}"
        await self._proposer.submit(RejectShare(root.epoch, self._node_id, sealed, reason))
