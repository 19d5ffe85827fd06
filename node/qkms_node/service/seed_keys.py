"""The QKD keys for a root epoch, by [root] policy: drawn, waited for, done without, or refused.

Nothing of this survives the leader: how long QKD has been failing is counted
anew by the next one. That an epoch was refused stands in the ledger, so that
one request is answered once, whoever leads. Retries back off; a refusal that
stands is not repeated, and keys are drawn as soon as a look at the links finds
some. Leaves out why an epoch is wanted (`seeding`).
"""

from collections.abc import Callable

import structlog

from qkms_node.config_quantum import RootSection
from qkms_node.ledger.commands import RefuseRoot
from qkms_node.ledger.records import NodeRecord
from qkms_node.ledger.state import State
from qkms_node.service.admitted_key import AdmittedKey
from qkms_node.service.links import Links
from qkms_node.service.proposing import Proposer
from qkms_node.service.sharing import MAX_DOUBLINGS, Sharing
from qkms_node.service.store import LedgerStore
from qkms_qkd.errors import LinkError

log = structlog.get_logger(__name__)


class SeedKeys:
    """Draws keys for the leader. `trouble`: why the last attempt failed; `waiting`: why there are none now."""

    def __init__(
        self,
        policy: RootSection,
        store: LedgerStore,
        links: Links,
        sharing: Sharing,
        proposer: Proposer,
        now_ms: Callable[[], int],
    ) -> None:
        self._policy = policy
        self._store = store
        self._links = links
        self._sharing = sharing
        self._proposer = proposer
        self._now_ms = now_ms
        self._failing_since_ms: int | None = None
        self._retry_ms = 0
        self._failures = 0
        self._drawn_out = False
        self.trouble = ""
        self.waiting = ""

    @property
    def preferred(self) -> bool:
        """Whether QKD is used where it can be had, and done without where not."""
        return self._policy.policy == "prefer_qkd"

    async def draw(self, peers: dict[str, NodeRecord]) -> dict[str, AdmittedKey] | None:
        """A QKD key for each peer, or for none when the policy gives QKD up; None: not now."""
        if self._policy.policy == "pqc_only":
            return {}
        if self._may_fall_back(peers):
            log.warning("root.fallback", reason=self.trouble)
            return {}
        problems = self.unusable(peers)
        if problems and self._is_refused(peers):
            await self._refuse(_told(problems))
            return None
        if self._now_ms() < self._retry_ms:
            self.waiting = self.trouble
            return None
        drawn: dict[str, AdmittedKey] = {}
        codes = set()
        for peer in () if problems else peers:
            try:
                drawn[peer] = await self._links.draw(peer, self._sharing.used)
            except LinkError as error:
                problems[peer] = str(error)
                codes.add(error.code)
        # A KME that does not tell how many keys it has is seen to have none only so.
        self._drawn_out = codes == {"STORE_EXHAUSTED"}
        if not problems:
            return drawn
        self.fail(_told(problems))
        if self._is_refused(peers):
            await self._refuse(_told(problems))
        return None

    def fail(self, trouble: str) -> None:
        """An attempt failed: the next one waits, longer each time."""
        if trouble != self.trouble:
            log.warning("root.waiting", policy=self._policy.policy, reason=trouble)
        self.trouble = self.waiting = trouble
        self._failures += 1
        backoff_ms = self._policy.retry_ms * 2 ** min(self._failures - 1, MAX_DOUBLINGS)
        self._retry_ms = self._now_ms() + backoff_ms
        if self._failing_since_ms is None:
            self._failing_since_ms = self._now_ms()

    def recover(self) -> None:
        """Nothing fails any more."""
        self._failing_since_ms = None
        self._failures = self._retry_ms = 0
        self._drawn_out = False
        self.trouble = self.waiting = ""

    def unusable(self, peers: dict[str, NodeRecord]) -> dict[str, str]:
        """The peers to which there is no usable link, and why."""
        return {peer: self._links.problem(peer) for peer in peers if not self._links.usable(peer)}

    def _may_fall_back(self, peers: dict[str, NodeRecord]) -> bool:
        with self._store.view() as state:
            needed = asked_for(state)
        if not self.preferred or not needed or self._failing_since_ms is None:
            return False
        if self._policy.on_exhaustion != "fall_back" and self._lacks_only_keys(peers):
            return False
        return self._now_ms() - self._failing_since_ms >= self._policy.fallback_after_ms

    def _is_refused(self, peers: dict[str, NodeRecord]) -> bool:
        return self._policy.on_exhaustion == "refuse" and self._lacks_only_keys(peers)

    def _lacks_only_keys(self, peers: dict[str, NodeRecord]) -> bool:
        """Whether the links are sound and only some of their stores have too few keys."""
        unusable = self.unusable(peers)
        return all(self._links.is_exhausted(peer) for peer in unusable) if unusable else self._drawn_out

    async def _refuse(self, why: str) -> None:
        """Says no, once, in the ledger: so to whoever asked, and to everybody who watches."""
        self.waiting = f"refused: {why}"
        with self._store.view() as state:
            epoch = state.active_epoch
            stands = epoch in state.root_refusals and not state.root_requested
        if not stands:
            log.warning("root.refused", epoch=epoch, reason=why)
            await self._proposer.effect(RefuseRoot(epoch, why))


def asked_for(state: State) -> bool:
    """Whether an epoch is wanted for another reason than age or the return of QKD."""
    return state.active_epoch == 0 or state.root_requested or state.root_needed


def _told(problems: dict[str, str]) -> str:
    return "; ".join(f"{peer}: {why}" for peer, why in sorted(problems.items()))
