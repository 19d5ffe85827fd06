"""Use cases of ClusterService and QkdService: what this node is and sees."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from qkms_node.access.guard import Guard
from qkms_node.config import Config
from qkms_node.consensus.replica import Replica, ReplicaStatus
from qkms_node.errors import QkmsError
from qkms_node.ledger.commands import Outcome, Request, RequestRoot
from qkms_node.ledger.records import EpochState, RootRecord
from qkms_node.ledger.recovery_rules import present_set
from qkms_node.ledger.state import State
from qkms_node.service.certificates import Certificates
from qkms_node.service.links import Links, Observation
from qkms_node.service.members import Members
from qkms_node.service.monitoring.alarms import Alarm
from qkms_node.service.monitoring.link_view import LinkView
from qkms_node.service.monitoring.look import Look
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore
from qkms_node.service.upkeep import Upkeep

# The leader usually answers within a tenth of a second; well below the time of one attempt of a client.
DECISION_S = 1.5


@dataclass(frozen=True)
class EpochUse:
    """What is under an epoch in use."""

    root: RootRecord
    version_count: int
    session_count: int
    sae_key_count: int
    recoverable: bool


@dataclass(frozen=True)
class NodeView:
    """One node's own view. `digest` is SHA-256 of the ledger at `applied_index`."""

    replica: ReplicaStatus
    applied_index: int
    revision: int
    digest: bytes
    root: RootRecord | None
    open_epochs: list[int]
    seeding: str
    key_count: int
    version: str
    start_s: float
    epoch_uses: list[EpochUse]
    recovery_set: str
    warnings: tuple[str, ...]
    certificate_expire_ms: int
    enrol_address: str
    audit: str = ""


class Cluster:
    """Status, links, and asking for a new root epoch."""

    def __init__(
        self,
        config: Config,
        guard: Guard,
        replica: Replica,
        store: LedgerStore,
        roots: RootStore,
        links: Links,
        proposer: Proposer,
        upkeep: Upkeep,
        members: Members,
        certificates: Certificates,
        audit_failure: Callable[[], str] = str,
    ) -> None:
        self.config = config
        self._guard = guard
        self._replica = replica
        self._store = store
        self._roots = roots
        self._links = links
        self._proposer = proposer
        self._upkeep = upkeep
        self._members = members
        self._certificates = certificates
        self._audit_failure = audit_failure
        self._start_s = time.time()

    def status(self, principal: str) -> NodeView:
        """This node's view; needs no quorum."""
        self._guard.require(principal, "cluster.status")
        applied_index, revision, digest = self._store.digest()
        with self._store.view() as state:
            # Before the first epoch is active, what there is to see is the last attempt.
            root = state.roots.get(state.active_epoch) or state.roots.get(state.last_epoch)
            key_count = len(state.keys)
            recovery_set = present_set(state)
        return NodeView(
            replica=self._replica.status(),
            applied_index=applied_index,
            revision=revision,
            digest=digest,
            root=root,
            open_epochs=self._roots.open_epochs(),
            seeding=self._upkeep.waiting,
            key_count=key_count,
            version=version("qkms-node"),
            start_s=self._start_s,
            epoch_uses=self._epoch_uses(),
            recovery_set=recovery_set,
            warnings=self._certificates.warnings,
            certificate_expire_ms=self._certificates.expire_ms,
            enrol_address=_enrol_address(self.config),
            audit=self._audit_failure(),
        )

    def _epoch_uses(self) -> list[EpochUse]:
        with self._store.view() as state:
            present = present_set(state)
            by_version, by_session = state.versions.counts["epoch"], state.sessions.counts["epoch"]
            by_sae_key = state.sae_keys.counts["epoch"]
            return [
                EpochUse(
                    r,
                    by_version[r.epoch],
                    by_session[r.epoch],
                    by_sae_key[r.epoch],
                    bool(present) and r.recovery_set == present,
                )
                for _, r in sorted(state.roots.items())
                if r.state in (EpochState.ACTIVE, EpochState.RETIRED)
            ]

    async def rotate_root(self, request: Request, expected_epoch: int) -> Outcome:
        """Asks for a new root epoch in place of `expected_epoch`.

        Raises QkmsError EPOCH_CONFLICT, or STORE_EXHAUSTED where want of keys is refused.
        """
        self._guard.require(request.principal, "root.rotate")
        outcome = await self._proposer.effect(RequestRoot(request, expected_epoch))
        if self.config.root.on_exhaustion == "refuse":
            await self._answered(expected_epoch, outcome.revision)
        return outcome

    async def _answered(self, epoch: int, revision: int) -> None:
        """Waits a little for what the leader makes of a request. Raises QkmsError STORE_EXHAUSTED."""

        def decided(state: State) -> bool:
            moved = state.active_epoch != epoch or state.staged_epoch or epoch in state.root_refusals
            return state.revision >= revision and bool(moved)

        if not await self._store.wait_for(decided, DECISION_S):
            return
        with self._store.view() as state:
            refusal = state.root_refusals.get(epoch)
        if refusal is not None:
            raise QkmsError(
                "STORE_EXHAUSTED",
                f"no root epoch takes the place of {epoch} for want of QKD keys: {refusal.reason}; "
                "ask again, with a new request_id, when there are keys in store (qkms links)",
                epoch=epoch,
            )

    def links(self, principal: str) -> dict[str, Observation | None]:
        """What was last seen of this node's links, by peer node id."""
        self._guard.require(principal, "links.list")
        return {peer: self._links.observations.get(peer) for peer in sorted(self._links.peers)}

    def link_alarms(self, principal: str, *, history: bool) -> list[Alarm]:
        """The alarms of this node's links that are raised, most severe first, or all steps kept, oldest first."""
        self._guard.require(principal, "links.list")
        return self._links.monitor.steps if history else self._links.monitor.raised

    def link_samples(self, principal: str, peer: str) -> list[Look]:
        """What was seen of the link to `peer`, oldest first. Raises QkmsError LINK_NOT_FOUND."""
        self._guard.require(principal, "links.list")
        if peer not in self._links.peers:
            raise QkmsError("LINK_NOT_FOUND", f"{self.config.node.id} has no QKD link to {peer}", peer=peer)
        return list(self.link_view(peer).samples())

    def link_view(self, peer: str) -> LinkView:
        """What the monitor knows of the link to `peer`, by the KME that serves."""
        return self._links.view(peer)

    def sae_ids(self) -> tuple[str, dict[str, str]]:
        """This node's name towards its KME, and those of its peers by node id."""
        with self._store.view() as state:
            peers = self._members.peers(state)
            return self._members.sae_id(state), {n: m.sae_id for n, m in peers.items()}

    def link_problem(self, peer: str) -> str:
        """Why a link would not be used now; empty when it would."""
        return self._links.problem(peer)


def _enrol_address(config: Config) -> str:
    enrol = config.enrol
    return "" if enrol is None else enrol.address or enrol.listen
