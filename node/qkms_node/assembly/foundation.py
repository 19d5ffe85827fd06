"""What every other part of a node stands on: ledger, replica, roots, audit files, telemetry, the guard."""

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import version

from qkms.audit import Head, calls_genesis
from qkms_node.access.call_log import CallLog
from qkms_node.access.chain_files import ChainFiles
from qkms_node.access.guard import Guard
from qkms_node.access.spool import Spool
from qkms_node.config import Config
from qkms_node.consensus.replica import Replica, StateMachine
from qkms_node.errors import QkmsError
from qkms_node.ledger.state import State
from qkms_node.service.audit import FOLDER as AUDIT_FOLDER
from qkms_node.service.audit_reading import CALLS
from qkms_node.service.freshness import Freshness
from qkms_node.service.links import Links
from qkms_node.service.members import Members
from qkms_node.service.monitoring.scraped import scraped
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.store import LedgerStore
from qkms_node.telemetry.audit import AuditState
from qkms_node.telemetry.links import LinkState
from qkms_node.telemetry.measured import MeasuredReplica
from qkms_node.telemetry.metrics import Metrics
from qkms_node.telemetry.state import NodeState
from qkms_node.telemetry.traces import NoSpans, OtlpSpans, Spans


class Foundation:
    """Each of these once in a node. To be made on its event loop."""

    def __init__(self, config: Config, make_replica: Callable[[StateMachine], Replica], links: Links) -> None:
        loop = asyncio.get_running_loop()
        self.config = config
        self.links = links
        audit_folder = config.node.data_dir / AUDIT_FOLDER
        self.spool = Spool(audit_folder, config.audit.rotate_bytes)
        start = Head(0, calls_genesis(config.cluster.id, config.node.id))
        files = ChainFiles(audit_folder, CALLS, start, config.audit.rotate_bytes)
        self.calls = CallLog(files, config.audit.on_failure == "refuse", now_ms, loop)
        self.store = LedgerStore(loop, self.spool)
        self.metrics = Metrics()
        self.spans = make_spans(config)
        self.replica = MeasuredReplica(make_replica(self.store), self.metrics, self.spans)
        self.metrics.collect_from(AuditState(self.calls, self.spool, self.store.view))
        maker = SealMaker(config.seal, config.cluster.id, config.node.id)
        self.roots = RootStore(config.node.data_dir, maker, config.cluster.id, config.node.id)
        self.metrics.collect_from(
            NodeState(
                config.node.id,
                version("qkms-node"),
                self.replica,
                self.store.view,
                self.roots.mode,
                lambda: self.roots.sealed,
            )
        )
        self.metrics.collect_from(LinkState(lambda: scraped(links.monitor)))
        self.guard = Guard(config.access.rules, config.access.admin, self.store.view)
        max_staleness_s = config.limits.default_max_staleness_ms / 1000
        self.proposer = Proposer(self.replica, config.raft.propose_timeout_ms / 1000, max_staleness_s)
        self.freshness = Freshness(self.replica, self.store, config.raft.barrier_timeout_ms / 1000)
        self.members = Members(config)

    def holds_root(self, state: State) -> bool:
        """Whether this node holds the active root of `state`."""
        root = state.roots.get(state.active_epoch)
        return root is not None and self.roots.holds(root)

    def leader_hint(self, error: QkmsError) -> dict[str, str]:
        """Where to go instead, for errors that another node may not have."""
        if error.retry_after_s is None:
            return {}
        leader = self.replica.status().leader_id
        with self.store.view() as state:
            record = self.members.of(state).get(leader or "")
        return {"leader": record.node_id, "leader_address": record.rpc_address} if record else {}

    def close(self) -> None:
        """Closes the files and wipes the roots; the replica is stopped before."""
        self.calls.close()
        self.spool.close()
        self.spans.close()
        self.roots.wipe()


def make_spans(config: Config) -> Spans:
    """Where the node's spans go. Raises TracingUnavailable."""
    tracing = config.tracing
    if tracing is None:
        return NoSpans()
    return OtlpSpans(tracing.endpoint, tracing.sample_ratio, config.node.id, config.cluster.id)


def now_ms() -> int:
    """Milliseconds since the Unix epoch, by this node's clock."""
    return time.time_ns() // 1_000_000
