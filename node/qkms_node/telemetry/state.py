"""Gauges read at the moment of a scrape: consensus as this node sees it, and what the ledger holds.

Runs on the endpoint's thread. The ledger keeps the counts itself: a scrape looks
at no record, whatever the ledger's size.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from qkms_node.consensus.replica import Replica, Role
from qkms_node.keys.grade import Grade
from qkms_node.ledger.records import RootRecord, VersionState
from qkms_node.ledger.state import State

Samples = Iterable[Metric]
View = Callable[[], AbstractContextManager[State]]


def gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    """One gauge without labels."""
    return GaugeMetricFamily(name, what, value=value)


@dataclass(frozen=True)
class CacheUse:
    """Of the cache of opened key versions: uses answered from it, uses that had to unwrap, versions in it."""

    hits: int
    misses: int
    size: int


class CacheState(Collector):
    """How well the cache of opened key versions serves."""

    def __init__(self, look: Callable[[], CacheUse]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        seen = self._look()
        uses = CounterMetricFamily(
            "qkms_version_cache_uses", "Uses of key versions, by outcome.", labels=("outcome",)
        )
        uses.add_metric(("hit",), seen.hits)
        uses.add_metric(("miss",), seen.misses)
        yield uses
        yield gauge("qkms_version_cache_size", "Opened key versions in memory.", seen.size)


class NodeState(Collector):
    """Everything that has a value now rather than a history."""

    def __init__(
        self, node_id: str, version: str, replica: Replica, view: View, seal_mode: str, sealed: Callable[[], bool]
    ) -> None:
        self._identity = {"node": node_id, "version": version}
        self._seal_mode = seal_mode
        self._sealed = sealed
        self._replica = replica
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        yield InfoMetricFamily("qkms_node", "Which node, and of which version.", value=self._identity)
        yield from self._seal()
        yield from self._consensus()
        yield from self._holdings()

    def _seal(self) -> Samples:
        sealed = GaugeMetricFamily(
            "qkms_sealed", "1 while the node is sealed and holds no root.", labels=("mode",)
        )
        sealed.add_metric((self._seal_mode,), float(self._sealed()))
        yield sealed

    def _consensus(self) -> Samples:
        status = self._replica.status()
        roles = GaugeMetricFamily("qkms_raft_role", "1 for the role that the node has.", labels=("role",))
        for role in Role:
            roles.add_metric((role.name.lower(),), float(status.role is role))
        yield roles
        yield gauge("qkms_raft_term", "Current term.", status.term)
        yield gauge("qkms_raft_leader_known", "1 when it knows a leader.", status.leader_id is not None)
        yield gauge("qkms_raft_commit_index", "Highest committed log index known.", status.commit_index)
        yield gauge("qkms_raft_applied_index", "Highest log index applied.", status.applied_index)
        lag = status.commit_index - status.applied_index
        yield gauge("qkms_raft_apply_lag", "Committed log entries not applied yet.", lag)
        yield gauge("qkms_raft_voters", "Voters by this node's log.", len(status.configuration.voters))
        yield gauge("qkms_raft_learners", "Learners by this node's log.", len(status.configuration.learners))
        yield gauge("qkms_raft_peers_connected", "Other members connected.", len(status.connected))
        what = "1 while all traffic of consensus to and from a member is under QKD keys, inside TLS."
        sealed = GaugeMetricFamily("qkms_raft_peer_qkd_sealed", what, labels=("peer",))
        for peer in sorted(status.configuration.members.keys() - {self._identity["node"]}):
            sealed.add_metric((peer,), float(peer in status.sealed))
        yield sealed
        if status.staleness_s is not None:
            what = "Seconds since the start of the last read barrier that this node completed."
            yield gauge("qkms_staleness_seconds", what, status.staleness_s)

    def _holdings(self) -> Samples:
        with self._view() as state:
            revision, root = state.revision, state.roots.get(state.active_epoch)
            by_algorithm = state.keys.counts["algorithm"].copy()
            by_state = state.versions.counts["state"].copy()
            sessions, requests = len(state.sessions), len(state.requests)
            sae_keys = state.sae_keys.counts["epoch"].total()
        yield gauge("qkms_ledger_revision", "Revision of the ledger here.", revision)
        yield from _of_root(root)
        yield gauge("qkms_sessions", "Sessions remembered.", sessions)
        yield gauge("qkms_sae_keys", "SAE keys held until every slave has collected them.", sae_keys)
        yield gauge("qkms_requests_remembered", "Mutations whose repetition is answered from memory.", requests)
        algorithms = GaugeMetricFamily("qkms_keys", "Keys by algorithm.", labels=("algorithm",))
        for algorithm, count in sorted(by_algorithm.items()):
            algorithms.add_metric((algorithm,), count)
        yield algorithms
        states = GaugeMetricFamily("qkms_key_versions", "Key versions by state.", labels=("state",))
        for state_of in VersionState:
            states.add_metric((state_of.name,), by_state[state_of])
        yield states


def _of_root(root: RootRecord | None) -> Samples:
    yield gauge("qkms_root_epoch", "Active root epoch, 0 without one.", 0 if root is None else root.epoch)
    grades = GaugeMetricFamily("qkms_root_grade", "1 for the grade of the active root epoch.", labels=("grade",))
    for grade in (Grade.PQC, Grade.QKD_PQC):
        grades.add_metric((grade.name,), float(root is not None and root.grade is grade))
    yield grades
    relays = 0 if root is None else len(root.relays)
    yield gauge("qkms_root_relays", "KMEs that have seen a QKD key of the active root epoch in clear.", relays)
    what = "Greatest QBER of the links that QKD keys of the active root epoch came over; 1: a KME tells none."
    yield gauge("qkms_root_qber", what, 0.0 if root is None else root.qber)
