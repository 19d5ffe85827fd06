"""Giving the root of an epoch in use to a node that lacks it.

Needed by a member that comes late, by one that lost its store, and in seal
mode `peers` by each one that restarts. The leader does it; where the leader
itself lacks the root, the first of the others that the ledger knows to hold it
does, or a leader that has just restarted would keep the root from itself. Two
that do it at once do no harm: the second share is not wanted any more. Each
attempt costs a QKD key and an entry of the log, so that a peer whose KME gives
it wrong keys is tried less and less often.

Under a QKD key that has passed relays, or whose link has a high QBER, no root
leaves this node while keys under its epoch that are content with it now would
not be any more: the node goes without that root until there is a better link,
or its epoch has ended. That is looked at before the share is made: one that the
ledger refused would have been written to its log all the same. A key made in
that moment is not seen; the epoch then names the relays and the QBER, and
whoever watches is told.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from qkms.kem import HybridPublicKey
from qkms_node.keys.grade import Grade
from qkms_node.keys.secret import RootSecret
from qkms_node.keys.share import Binding, seal_share
from qkms_node.ledger.commands import ReplaceShare
from qkms_node.ledger.provenance_rules import Provenance, provenance_of_root, would_worsen
from qkms_node.ledger.records import QBER_UNTOLD, EpochState, NodeRecord, RootRecord, ShareRecord
from qkms_node.ledger.state import State
from qkms_node.service.admitted_key import AdmittedKey
from qkms_node.service.links import Links
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore
from qkms_qkd.errors import LinkError

log = structlog.get_logger(__name__)

# Retries back off from `root.retry_ms` by doubling, up to this often.
MAX_DOUBLINGS = 4


@dataclass(frozen=True)
class _Tried:
    """A share that was given, or could not be: how often by now, when the next attempt is due, what went wrong."""

    times: int
    due_s: float
    trouble: str = ""


class Sharing:
    """Seals shares; says in `waiting` who lacks a root and why. `now_s`: of a clock that is never set."""

    def __init__(
        self,
        cluster_id: str,
        node_id: str,
        store: LedgerStore,
        roots: RootStore,
        links: Links,
        proposer: Proposer,
        retry_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._store = store
        self._roots = roots
        self._links = links
        self._proposer = proposer
        self._retry_s = retry_s
        self._now_s = now_s
        self._tried: dict[tuple[int, str], _Tried] = {}
        self.waiting = ""

    def seal(self, root: RootSecret, epoch: int, node: NodeRecord, psk: AdmittedKey | None) -> ShareRecord:
        """The share of `node`, under a QKD key or without."""
        bound = Binding(self._cluster_id, epoch, self._node_id, node.node_id, psk.key_id if psk else "")
        public = HybridPublicKey(node.mlkem_public, node.x25519_public)
        share = seal_share(root, bound, public, psk.secret if psk else None)
        return ShareRecord(
            node_id=node.node_id,
            leader_id=self._node_id,
            qkd_key_id=bound.qkd_key_id,
            mlkem_ciphertext=share.ciphertext.mlkem,
            x25519_public=share.ciphertext.x25519,
            sealed=share.sealed,
            relays=tuple(sorted(set(psk.relays))) if psk else (),
            qber=_qber(psk) if psk else 0.0,
        )

    async def share_anew(self, leader_id: str, connected: frozenset[str], peers: dict[str, NodeRecord]) -> None:
        """Gives every epoch in use that this node is to share to every peer that lacks it."""
        self.waiting = ""
        with self._store.view() as state:
            epochs = [root for root in _in_use(state) if self.is_mine(root, leader_id, connected)]
        shared = {root.epoch: root for root in epochs}
        # One that neither confirmed nor rejected its share yet is still being tried.
        self._tried = {
            (epoch, peer): tried
            for (epoch, peer), tried in self._tried.items()
            if epoch in shared and peer not in shared[epoch].confirmed
        }
        for root in epochs:
            for peer, node in peers.items():
                if peer in root.rejected or (peer not in root.shares and peer not in root.confirmed):
                    await self._share(root, peer, node)

    def used(self, key_id: str) -> bool:
        """Whether a QKD key entered a root epoch or sealed a share, ever."""
        with self._store.view() as state:
            return key_id in state.qkd_key_epochs

    def is_mine(self, root: RootRecord, leader_id: str, connected: frozenset[str]) -> bool:
        """Whether this node is the one to pass an epoch's root on."""
        if not self._roots.holds(root):
            return False
        if leader_id == self._node_id or leader_id in root.confirmed:
            return leader_id == self._node_id
        present = [node for node in root.confirmed if node == self._node_id or node in connected]
        return bool(present) and present[0] == self._node_id

    async def _share(self, root: RootRecord, peer: str, node: NodeRecord) -> None:
        tried = self._tried.get((root.epoch, peer), _Tried(0, 0))
        if self._now_s() < tried.due_s:
            self.waiting = f"{peer} needs root epoch {root.epoch}: {tried.trouble or root.rejected.get(peer, '')}"
            return
        psk = None
        if root.grade is not Grade.PQC:
            # The root of a QKD epoch leaves this node only under a QKD key again:
            # otherwise one lost store would let a later break of ML-KEM reach it.
            if not self._links.usable(peer):
                self.waiting = f"{peer} needs root epoch {root.epoch}: {self._links.problem(peer)}"
                return
            try:
                psk = await self._links.draw(peer, self.used)
            except LinkError as error:
                self._note(root, peer, str(error))
                self.waiting = f"{peer} needs root epoch {root.epoch}: {error}"
                return
            if await self._would_worsen(root.epoch, Provenance(bool(psk.relays), _qber(psk))):
                trouble = _too_bad(psk, peer)
                self._note(root, peer, trouble)
                self.waiting = f"{peer} needs root epoch {root.epoch}: {trouble}"
                return
        self._note(root, peer)
        share = self.seal(self._roots.root(root), root.epoch, node, psk)
        outcome = await self._proposer.effect(ReplaceShare(root.epoch, share))
        log.info("root.shared_anew", epoch=root.epoch, peer=peer, note=outcome.note)

    async def _would_worsen(self, epoch: int, share: Provenance) -> bool:
        with self._store.view() as state:
            now = provenance_of_root(state.roots[epoch])
            then = now.with_more(share)
            if then == now:
                return False
            keys, versions = state.keys.capture(), state.versions.capture()
            importing = frozenset(key_id for key_id, w in state.wrappings.items() if w.epoch == epoch)
        # On a thread: a large ledger is looked through while calls are served.
        return await asyncio.to_thread(would_worsen, epoch, now, then, keys, versions, importing)

    def _note(self, root: RootRecord, peer: str, trouble: str = "") -> None:
        """An attempt was made: the next one waits."""
        times = self._tried[root.epoch, peer].times if (root.epoch, peer) in self._tried else 0
        backoff_s = self._retry_s * 2 ** min(times, MAX_DOUBLINGS)
        self._tried[root.epoch, peer] = _Tried(times + 1, self._now_s() + backoff_s, trouble)


def _qber(psk: AdmittedKey) -> float:
    return QBER_UNTOLD if psk.qber is None else psk.qber


def _too_bad(psk: AdmittedKey, peer: str) -> str:
    qber = "a QBER that its KME does not tell" if psk.qber is None else f"a QBER of {psk.qber:.2%}"
    passed = f"has passed {', '.join(psk.relays)} and " if psk.relays else ""
    why = "and keys under the epoch refuse that"
    return f"QKD key {psk.key_id} {passed}came over a link with {qber}, {why}; link {peer} directly, undisturbed"


def _in_use(state: State) -> list[RootRecord]:
    return [root for root in state.roots.values() if root.state in (EpochState.ACTIVE, EpochState.RETIRED)]
