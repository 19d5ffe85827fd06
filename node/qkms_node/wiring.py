"""From the configuration to the two outer parts of a node: its replica and its links."""

from collections.abc import Callable

from qkms_node.config import Config
from qkms_node.config_quantum import QkdSection
from qkms_node.consensus.engine import Limits, LinkSealing, SyncObjReplica, Timing, Tls
from qkms_node.consensus.replica import Replica, StateMachine
from qkms_node.consensus.settings import MIB
from qkms_node.service.link_keys import LinkKeySource
from qkms_node.service.links import KEY_BITS, Links
from qkms_node.service.monitoring.findings import Thresholds
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.service.prefetching import FOLDER as PREFETCH_FOLDER
from qkms_node.tls_files import stamp
from qkms_qkd.admission import AdmissionRules
from qkms_qkd.opening import LinkOpener, LinkSource, Prefetching
from qkms_qkd.prefetch.link import Marks
from qkms_qkd.prefetch.store import PrefetchStore
from qkms_qkd.tls import TlsFiles


def replica_maker(config: Config, links: Links) -> Callable[[StateMachine], Replica]:
    """Makes the PySyncObj replica of this node for a state machine, on the node's event loop."""
    raft = config.raft

    def make(machine: StateMachine) -> Replica:
        return SyncObjReplica(
            node_id=config.node.id,
            members={m.id: m.raft_address for m in config.cluster.members},
            listen=raft.listen,
            tls=Tls(config.tls.ca, config.tls.certificate, config.tls.private_key, config.tls.trust_domain),
            data_dir=config.node.data_dir / "raft",
            state_machine=machine,
            cluster_id=config.cluster.id,
            timing=Timing(
                election_timeout_min_s=raft.election_timeout_min_ms / 1000,
                election_timeout_max_s=raft.election_timeout_max_ms / 1000,
                heartbeat_s=raft.heartbeat_ms / 1000,
                leader_fallback_s=raft.leader_fallback_ms / 1000,
            ),
            joining=config.cluster.joining,
            dial=raft.dial,
            limits=Limits(snapshot_after_entries=raft.snapshot_after_entries, keep_entries=raft.keep_entries),
            keys=LinkKeySource(links) if _uses_qkd(config) and raft.link_keys != "off" else None,
            sealing=LinkSealing(
                required=raft.link_keys == "require_qkd",
                rekey_s=raft.link_rekey_ms / 1000,
                rekey_bytes=raft.link_rekey_mib * MIB,
            ),
        )

    return make


def make_links(config: Config) -> Links:
    """Links to the peers through this site's KMEs or its key files; none without [qkd]."""
    qkd = config.qkd
    if qkd is None or not _uses_qkd(config):
        return Links.none()
    sources = [
        LinkSource(
            protocol=kme.protocol,
            kme_id=kme.kme_id,
            place=kme.kme_url or str(kme.folder),
            tls=TlsFiles(config.tls.ca, config.tls.certificate, config.tls.private_key),
            timeout_s=qkd.timeout_ms / 1000,
            kme_identity=f"spiffe://{config.tls.trust_domain}/kme/{kme.kme_id}",
            priority=kme.priority,
        )
        for kme in qkd.sources
    ]
    preferred = sources[0].kme_id
    prefetching = _prefetching(config, qkd)
    rules = AdmissionRules(max_qber=qkd.max_qber, allow_relays=qkd.allow_relays)
    monitor = LinkMonitor(Thresholds(qkd.alarms, qkd.max_qber, qkd.min_store), config.node.data_dir, preferred)
    return Links(
        preferred,
        {},
        rules,
        qkd.poll_ms / 1000,
        LinkOpener(sources, qkd.retry_ms / 1000, prefetching).open,
        lambda: stamp(config.tls),
        monitor,
        prefetching.store if prefetching is not None else None,
    )


def _prefetching(config: Config, qkd: QkdSection) -> Prefetching | None:
    section = qkd.prefetch
    if section is None:
        return None
    marks = Marks(section.low, section.high, section.max_age_ms / 1000, qkd.min_store, KEY_BITS)
    return Prefetching(PrefetchStore(config.node.data_dir / PREFETCH_FOLDER), marks)


def _uses_qkd(config: Config) -> bool:
    return config.qkd is not None and config.root.policy != "pqc_only"
