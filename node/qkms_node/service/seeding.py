"""The leader's part in the root: seed, stage, activate, abort, refuse.

One pass looks at the ledger and takes the next step, if one is due:

    no epoch, one asked for or due, QKD is back ->  seed and StageRoot
    staged, rejected by a node                  ->  AbortRoot with the reason
    staged, not sealed to the recovery key      ->  SealToRecovery (service.recovery)
    staged, quorum confirmed                    ->  ActivateRoot
    staged too long                             ->  AbortRoot
    none can be had, and that is refused        ->  RefuseRoot (service.seed_keys)

All progress is in the ledger, so a new leader goes on where the old one fell:
nothing here needs to survive. The new root is durable at the leader before it
is staged. A seed enters the root and never replaces it.
"""

import secrets
from collections.abc import Callable

import structlog

from qkms_node.config import Config
from qkms_node.keys.grade import Grade
from qkms_node.keys.root import Seed, commitment, mix_root
from qkms_node.ledger.commands import AbortRoot, ActivateRoot, StageRoot
from qkms_node.ledger.records import NodeRecord, RootRecord
from qkms_node.ledger.root_rules import quorum
from qkms_node.ledger.state import State
from qkms_node.service.links import Links
from qkms_node.service.members import Members
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.seed_keys import SeedKeys, asked_for
from qkms_node.service.sharing import Sharing
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

# A quorum suffices to activate; the others are given this long to confirm as well,
# so that no node is without the active root for want of a moment.
STRAGGLER_MS = 1_000

# How long a first seeding waits for members that have not registered yet. They can be given
# a share later; waiting only spares that.
NEWCOMER_MS = 3_000


class Seeder:
    """Takes the leader's next step; called while this node leads."""

    def __init__(
        self,
        config: Config,
        store: LedgerStore,
        roots: RootStore,
        links: Links,
        sharing: Sharing,
        proposer: Proposer,
        now_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._members = Members(config)
        self._node_id = config.node.id
        self._store = store
        self._roots = roots
        self._sharing = sharing
        self._keys = SeedKeys(config.root, store, links, sharing, proposer, now_ms)
        self._proposer = proposer
        self._now_ms = now_ms
        self._missing_since_ms: int | None = None
        self._good_since_ms: int | None = None
        self.waiting = ""

    async def step(self) -> None:
        """Looks at the ledger and takes the next step, if one is due."""
        self.waiting = ""
        with self._store.view() as state:
            staged = state.roots.get(state.staged_epoch)
            wanted = self._wanted(state)
        if staged is not None:
            await self._settle(staged)
        elif wanted:
            await self._seed()
        else:
            self._keys.recover()

    def _wanted(self, state: State) -> bool:
        active = state.roots.get(state.active_epoch)
        if asked_for(state):
            return True
        assert active is not None
        period_ms = self._config.root.rotation_period_ms
        if period_ms and self._now_ms() - active.activate_ms >= period_ms:
            return True
        fallen_back = self._keys.preferred and active.grade is Grade.PQC
        return fallen_back and self._is_qkd_back(self._voting_peers(state))

    def _is_qkd_back(self, peers: dict[str, NodeRecord]) -> bool:
        """Whether the fall-back epoch gives way to one seeded by every link: they have been good for a while."""
        if not peers or self._keys.unusable(peers):
            self._good_since_ms = None
            return False
        if self._good_since_ms is None:
            self._good_since_ms = self._now_ms()
        return self._now_ms() - self._good_since_ms >= self._config.root.resume_after_ms

    async def _settle(self, staged: RootRecord) -> None:
        age_ms = self._now_ms() - staged.stage_ms
        complete = set(staged.confirmed) >= set(staged.voters)
        if staged.rejected:
            reason = "; ".join(f"{node}: {why}" for node, why in sorted(staged.rejected.items()))
            await self._abort(staged, reason)
        elif complete or (len(staged.confirmed) >= quorum(staged) and age_ms > STRAGGLER_MS):
            outcome = await self._proposer.effect(ActivateRoot(staged.epoch))
            log.info("root.activated", epoch=staged.epoch, grade=staged.grade.name, note=outcome.note)
            self._keys.recover()
        elif age_ms > self._config.root.confirm_timeout_ms:
            missing = sorted(set(staged.voters) - set(staged.confirmed))
            await self._abort(staged, f"no quorum confirmed in time; missing {', '.join(missing)}")
        else:
            self.waiting = f"root epoch {staged.epoch} is confirmed by {len(staged.confirmed)} of {quorum(staged)}"

    async def _abort(self, staged: RootRecord, reason: str) -> None:
        log.error("root.aborted", epoch=staged.epoch, reason=reason)
        await self._proposer.effect(AbortRoot(staged.epoch, reason))
        self._keys.fail(reason)
        self.waiting = reason

    async def _seed(self) -> None:
        with self._store.view() as state:
            base = state.roots.get(state.active_epoch)
            epoch = state.last_epoch + 1
            voters = self._members.voters(state)
            peers = self._voting_peers(state)
            missing = sorted(set(voters) - set(state.nodes))
        if missing and not self._enough(peers, voters):
            self.waiting = f"waiting for {', '.join(missing)} to register"
            return
        if base is not None and not self._roots.holds(base):
            self.waiting = f"the leader has not opened root epoch {base.epoch} yet"
            return
        psks = await self._keys.draw(peers)
        if psks is None:
            self.waiting = self._keys.waiting
            return
        root = mix_root(
            self._roots.root(base) if base is not None else None,
            secrets.token_bytes(32),
            [Seed(psk.key_id, psk.secret) for psk in psks.values()],
        )
        check = commitment(root, self._config.cluster.id, epoch)
        grade = Grade.QKD_PQC if psks and len(psks) == len(peers) else Grade.PQC
        shares = {peer: self._sharing.seal(root, epoch, node, psks.get(peer)) for peer, node in peers.items()}
        self._roots.keep(epoch, check, root)
        outcome = await self._proposer.effect(
            StageRoot(
                epoch=epoch,
                base_epoch=base.epoch if base is not None else 0,
                grade=grade,
                leader_id=self._node_id,
                commitment=check,
                qkd_key_ids=tuple(sorted(psk.key_id for psk in psks.values())),
                voters=voters,
                shares=shares,
                fallback=self._keys.trouble if self._keys.preferred and peers and not psks else "",
            )
        )
        log.info("root.staged", epoch=epoch, grade=grade.name, note=outcome.note)

    def _enough(self, peers: dict[str, NodeRecord], voters: tuple[str, ...]) -> bool:
        """Whether to seed without the members that have never been seen: with a quorum, after a while."""
        self._missing_since_ms = self._missing_since_ms or self._now_ms()
        patient = self._now_ms() - self._missing_since_ms < NEWCOMER_MS
        return not patient and len(peers) + 1 > len(voters) // 2

    def peers(self, state: State) -> dict[str, NodeRecord]:
        """The other members that have registered, by id."""
        peers = self._members.peers(state)
        return {n: r for n, r in sorted(state.nodes.items()) if n in peers}

    def _voting_peers(self, state: State) -> dict[str, NodeRecord]:
        """Those an epoch is staged for; learners, who must not hold it up, are given it once it is active."""
        voters = self._members.voters(state)
        return {n: r for n, r in self.peers(state).items() if n in voters}
