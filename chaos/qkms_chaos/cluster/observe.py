"""What the nodes of a running cluster say of themselves, and waiting for what they should say.

Each node is asked for its own view, as the operator. A node that does not
answer is no view, not an error: clusters under observation have faults.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from qkms_chaos.cluster.waits import NotYet, WaitExpired, wait_for
from qkms_client import Client
from qkms_client.errors import QkmsError
from qkms_client.types import EpochState, Grade, Link, NodeStatus, Role

ASK_TIMEOUT_S = 1.5
ROOT_TIMEOUT_S = 60.0
LEADER_TIMEOUT_S = 20.0
AGREE_TIMEOUT_S = 30.0


class Observer:
    """Asks nodes through an operator's client, which it does not own. `told` hears what waits see."""

    def __init__(self, client: Client, nodes: Iterable[str], told: Callable[[str], None] = lambda _: None) -> None:
        self._client = client
        self._told = told
        self._refusals: dict[str, str] = {}
        self.nodes = tuple(nodes)

    def status(self, node: str) -> NodeStatus | None:
        """A node's own view, or None when it does not answer."""
        try:
            return self._client.status(node=node, timeout=ASK_TIMEOUT_S)
        except QkmsError as error:
            self._refusals[node] = str(error)
            return None

    def links(self, node: str) -> list[Link]:
        """A node's view of its links; empty when it does not answer."""
        try:
            return self._client.list_links(node=node, timeout=ASK_TIMEOUT_S)
        except QkmsError:
            return []

    def statuses(self, nodes: Iterable[str] | None = None) -> dict[str, NodeStatus]:
        """The views of those nodes that answer, asked at the same time."""
        chosen = list(self.nodes if nodes is None else nodes)
        with ThreadPoolExecutor(max_workers=len(chosen)) as pool:
            seen = dict(zip(chosen, pool.map(self.status, chosen), strict=True))
        return {node: status for node, status in seen.items() if status is not None}

    def wait_leader(self, among: Iterable[str] | None = None, timeout_s: float = LEADER_TIMEOUT_S) -> str:
        """The id of the one leader of the newest term that `among` (default: all) know. Raises WaitExpired."""

        def probe() -> str:
            seen = self.statuses(among)
            term = max((s.term for s in seen.values()), default=0)
            leaders = [n for n, s in seen.items() if s.role is Role.LEADER and s.term == term]
            if len(leaders) != 1:
                raise NotYet(f"{_roles(seen)}")
            return leaders[0]

        return wait_for("one leader", probe, timeout_s, told=self._told)

    def wait_root(
        self,
        epoch: int,
        grade: Grade = Grade.UNSPECIFIED,
        nodes: Iterable[str] | None = None,
        timeout_s: float = ROOT_TIMEOUT_S,
    ) -> dict[str, NodeStatus]:
        """Views in which every node has an active root epoch of at least `epoch` and `grade`, and holds it open.

        Raises WaitExpired.
        """
        chosen = list(self.nodes if nodes is None else nodes)

        def probe() -> dict[str, NodeStatus]:
            seen = self.statuses(chosen)
            for node in chosen:
                status = seen.get(node)
                if status is None:
                    raise NotYet(f"{node} does not answer: {self._refusals[node]}")
                root = status.root
                if root is None or root.state is not EpochState.ACTIVE or root.epoch < epoch or root.grade < grade:
                    raise NotYet(f"{node}: {describe_root(status)}")
                if root.epoch not in status.open_epochs:
                    raise NotYet(f"{node} has not opened root epoch {root.epoch}: {describe_root(status)}")
            return seen

        wanted = f"root epoch {epoch}" + (f" of grade {grade}" if grade else "")
        return wait_for(f"{wanted} to be active on {', '.join(chosen)}", probe, timeout_s, told=self._told)

    def wait_agreement(self, nodes: Iterable[str] | None = None, timeout_s: float = AGREE_TIMEOUT_S) -> NodeStatus:
        """The view of the first node once all have the same revision and state digest. Raises WaitExpired."""
        chosen = list(self.nodes if nodes is None else nodes)

        def probe() -> NodeStatus:
            seen = self.statuses(chosen)
            states = {n: (s.revision, s.state_digest) for n, s in seen.items()}
            if len(states) < len(chosen) or len(set(states.values())) > 1:
                raise NotYet(", ".join(f"{n} at {r}/{d.hex()[:12]}" for n, (r, d) in states.items()))
            return seen[chosen[0]]

        return wait_for(f"equal state digests on {', '.join(chosen)}", probe, timeout_s, told=self._told)

    def disagreement(self, timeout_s: float) -> str:
        """Why the nodes came to no common state in that time; empty: they did."""
        try:
            self.wait_agreement(timeout_s=timeout_s)
        except WaitExpired as error:
            return str(error)
        return ""


def describe_root(status: NodeStatus) -> str:
    """A node's root in words: epoch, state, grade, and what seeding waits for."""
    root = status.root
    words = (
        "no root epoch" if root is None else f"root epoch {root.epoch} {root.state.name.lower()} ({root.grade})"
    )
    if root is not None and root.reason:
        words += f", given up: {root.reason}"
    return f"{words}, seeding: {status.seeding}" if status.seeding else words


def _roles(seen: dict[str, NodeStatus]) -> str:
    return ", ".join(f"{n} {s.role.name.lower()} in term {s.term}" for n, s in seen.items()) or "nobody answers"
