"""The one place that assembles a node, starts it in order, and shuts it down.

Start: root store, replica (binds its listener, loads journal and snapshot),
links, upkeep, gRPC. Shutdown is the reverse: health says NOT_SERVING, calls
in flight drain, upkeep stops, the replica stops, secrets are wiped.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import version

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from qkms.audit import Head, calls_genesis
from qkms.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    cluster_pb2,
    cluster_pb2_grpc,
    crypto_pb2,
    crypto_pb2_grpc,
    enrol_pb2,
    enrol_pb2_grpc,
    key_pb2,
    key_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    qkd_pb2,
    qkd_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)
from qkms_node.access.call_log import CallLog
from qkms_node.access.chain_files import ChainFiles
from qkms_node.access.guard import Guard
from qkms_node.access.spool import Spool
from qkms_node.ca import SigningCa
from qkms_node.config import Config
from qkms_node.consensus.replica import Replica, StateMachine
from qkms_node.errors import QkmsError
from qkms_node.ledger.state import State
from qkms_node.rpc.audit_servicer import AuditServicer
from qkms_node.rpc.call_audit import CallAudit
from qkms_node.rpc.carrying_servicer import CarryingServicer
from qkms_node.rpc.cluster_servicer import ClusterServicer, QkdServicer
from qkms_node.rpc.enrol_servicer import EnrolServicer
from qkms_node.rpc.header import Headers
from qkms_node.rpc.key_servicer import KeyServicer
from qkms_node.rpc.policy_servicer import PolicyServicer
from qkms_node.rpc.server import CallInterceptor, make_enrol_server, make_server
from qkms_node.rpc.session_servicer import SessionServicer
from qkms_node.rpc.signers import NodeSigners
from qkms_node.service.access import Access
from qkms_node.service.audit import FOLDER as AUDIT_FOLDER
from qkms_node.service.audit import Audit
from qkms_node.service.audit_reading import CALLS
from qkms_node.service.backup import Backup
from qkms_node.service.certificates import Certificates
from qkms_node.service.cluster import Cluster
from qkms_node.service.crypto import Crypto
from qkms_node.service.drawing import Drawing
from qkms_node.service.encapsulating import Encapsulating
from qkms_node.service.enrolment import Enrolment
from qkms_node.service.evidence import Witness
from qkms_node.service.freshness import Freshness
from qkms_node.service.keys import Keys
from qkms_node.service.links import Links
from qkms_node.service.material import Materials
from qkms_node.service.members import Members
from qkms_node.service.membership import Membership
from qkms_node.service.proposing import Proposer
from qkms_node.service.recovery import Recovery
from qkms_node.service.restoring import Restoring
from qkms_node.service.rewrapping import Rewrapping
from qkms_node.service.roots import RootStore
from qkms_node.service.roster import Roster
from qkms_node.service.rotation import Rotator
from qkms_node.service.sealing import Sealing
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.seeding import Seeder
from qkms_node.service.sessions import Sessions
from qkms_node.service.shares import Voter
from qkms_node.service.sharing import Sharing
from qkms_node.service.signing import Signing
from qkms_node.service.staging import Staging
from qkms_node.service.store import LedgerStore
from qkms_node.service.transport import Transport
from qkms_node.service.upkeep import Upkeep
from qkms_node.service.versions import Versions
from qkms_node.service.watching import Watching
from qkms_node.telemetry.audit import AuditState
from qkms_node.telemetry.endpoint import Endpoint
from qkms_node.telemetry.measured import MeasuredReplica
from qkms_node.telemetry.metrics import Metrics
from qkms_node.telemetry.state import NodeState
from qkms_node.telemetry.traces import NoSpans, OtlpSpans, Spans

log = structlog.get_logger(__name__)

READ = "qkms.read"
WRITE = "qkms.write"
# NOT_SERVING when the node's certificate has expired or soon will: a warning, calls are served.
CERTIFICATE = "qkms.certificate"
AUDIT = "qkms.audit"
HEALTH_PERIOD_S = 0.5

SERVICES = (
    key_pb2.DESCRIPTOR.services_by_name["KeyService"].full_name,
    crypto_pb2.DESCRIPTOR.services_by_name["CryptoService"].full_name,
    session_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name,
    cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"].full_name,
    enrol_pb2.DESCRIPTOR.services_by_name["EnrolService"].full_name,
    qkd_pb2.DESCRIPTOR.services_by_name["QkdService"].full_name,
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
)


class Node:
    """A whole node around a replica and its links, which the caller makes."""

    def __init__(self, config: Config, make_replica: Callable[[StateMachine], Replica], links: Links) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        audit_folder = config.node.data_dir / AUDIT_FOLDER
        self._spool = Spool(audit_folder, config.audit.rotate_bytes)
        start = Head(0, calls_genesis(config.cluster.id, config.node.id))
        files = ChainFiles(audit_folder, CALLS, start, config.audit.rotate_bytes)
        self._calls = CallLog(files, config.audit.on_failure == "refuse", now_ms, loop)
        self._store = LedgerStore(loop, self._spool)
        self._links = links
        self._metrics = Metrics()
        self._spans = make_spans(config)
        self._replica = MeasuredReplica(make_replica(self._store), self._metrics, self._spans)
        self._metrics.collect_from(
            NodeState(config.node.id, version("qkms-node"), self._replica, self._store.view)
        )
        self._metrics.collect_from(AuditState(self._calls, self._spool, self._store.view))
        self._serving = {"read": False, "write": False, "certificate": False}
        self._endpoint: Endpoint | None = None
        if config.metrics is not None:
            self._endpoint = Endpoint(config.metrics.listen, self._metrics.registry, lambda: self._serving)
        maker = SealMaker(config.seal, config.cluster.id, config.node.id)
        self._roots = RootStore(config.node.data_dir, maker, config.cluster.id, config.node.id)
        guard = Guard(config.access.rules, config.access.admin, self._store.view)
        proposer = Proposer(
            self._replica, config.raft.propose_timeout_ms / 1000, config.limits.default_max_staleness_ms / 1000
        )
        freshness = Freshness(self._replica, self._store, config.raft.barrier_timeout_ms / 1000)
        members = Members(config)
        membership = Membership(config, members, self._replica, self._store, proposer)
        signers = NodeSigners(config, members, self._replica, self._store)
        enrolment = Enrolment(config, members, make_ca(config), signers, self._store, proposer, freshness, now_ms)
        self._certificates = Certificates(config, enrolment.renew_own)
        self._members = members
        voter = Voter(config, self._store, self._roots, links, proposer)
        sharing = Sharing(config.cluster.id, config.node.id, self._store, self._roots, links, proposer)
        seeder = Seeder(config, self._store, self._roots, links, sharing, proposer, now_ms)
        recovery = Recovery(config, guard, self._store, self._roots, proposer, sharing)
        rewrapping = Rewrapping(self._store, self._roots, proposer, now_ms)
        self._versions = Versions(self._store, self._roots, freshness)
        self._drawing = Drawing(self._store, self._roots)
        materials = Materials(self._store, self._roots, self._drawing, proposer, freshness)
        witness = Witness(config.node.id, self._store, self._roots, materials, proposer)
        self._rotator = Rotator(self._replica, self._store, materials, proposer, now_ms)
        self._upkeep = Upkeep(
            self._replica,
            self._store,
            self._roots,
            voter,
            seeder,
            sharing,
            recovery,
            rewrapping,
            proposer,
            self._versions,
            now_ms,
            members,
            membership,
            links,
            witness,
        )
        self._roots.on_seal = self._wipe_keys
        keys = Keys(guard, self._store, proposer, freshness, materials)
        staging = Staging(guard, self._replica, self._store, proposer, freshness, materials)
        transport = Transport(guard, self._replica, self._store, self._roots, freshness, materials)
        sessions = Sessions(guard, self._store, self._roots, proposer, freshness)
        cluster = Cluster(
            config,
            guard,
            self._replica,
            self._store,
            self._roots,
            links,
            proposer,
            self._upkeep,
            members,
            self._certificates,
            lambda: self._audit.failure,
        )
        roster = Roster(
            config.node.id, guard, members, membership, self._replica, self._store, proposer, freshness
        )
        sealing = Sealing(config, guard, self._replica, self._store, self._roots, voter)
        backup = Backup(config, guard, self._store, self._roots, freshness, now_ms)
        restoring = Restoring(config, guard, self._store, self._roots, proposer)
        headers = Headers(config.node.id, self._replica, self._store)
        self._health = health.aio.HealthServicer()
        call_audit = CallAudit(self._calls, now_ms)
        calls = CallInterceptor(self._leader_hint, self._metrics, self._spans, call_audit)
        self._server = make_server(config, calls)
        self._watching = Watching(guard, self._store, freshness)
        key_pb2_grpc.add_KeyServiceServicer_to_server(
            KeyServicer(keys, staging, transport, self._watching, headers, config.limits), self._server
        )
        self._carrying = CarryingServicer(
            Crypto(guard, self._versions),
            Signing(guard, self._versions),
            Encapsulating(guard, self._versions),
            headers,
            calls.serve,
            config.limits.max_concurrent_calls,
        )
        crypto_pb2_grpc.add_CryptoServiceServicer_to_server(self._carrying, self._server)
        session_pb2_grpc.add_SessionServiceServicer_to_server(SessionServicer(sessions, headers), self._server)
        cluster_servicer = ClusterServicer(cluster, roster, sealing, recovery, backup, restoring, headers)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(cluster_servicer, self._server)
        qkd_pb2_grpc.add_QkdServiceServicer_to_server(QkdServicer(cluster, headers), self._server)
        enrol_servicer = EnrolServicer(enrolment, headers, config.tls.trust_domain)
        enrol_pb2_grpc.add_EnrolServiceServicer_to_server(enrol_servicer, self._server)
        self._enrol_server: grpc.aio.Server | None = None
        if config.enrol is not None:
            self._enrol_server = make_enrol_server(
                config, config.enrol.listen, self._leader_hint, self._metrics, self._spans, call_audit
            )
            enrol_pb2_grpc.add_EnrolServiceServicer_to_server(enrol_servicer, self._enrol_server)
        access = Access(guard, self._store, proposer, freshness)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(PolicyServicer(access, headers), self._server)
        self._audit = Audit(config, guard, self._store, self._roots, proposer, freshness, self._calls, self._spool)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(self._audit, headers), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when every listener is bound and the node takes calls."""
        self._spool.start()
        self._calls.start()
        await self._replica.start()
        await self._server.start()
        if self._enrol_server is not None:
            await self._enrol_server.start()
        if self._endpoint is not None:
            log.info("node.metrics", port=self._endpoint.start())
        loops = {
            "links": self._links.watch(),
            "upkeep": self._upkeep.run(),
            "rotation": self._rotator.run(),
            "health": self._watch_health(),
            "audit": self._audit.run(),
            "certificates": self._certificates.run(),
        }
        self._tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        log.info("node.ready", node=self._config.node.id, rpc=self._config.rpc.listen)

    async def wait_root(self) -> None:
        """Returns when this node holds an active root."""
        while not await self._store.wait_for(self._holds_root, HEALTH_PERIOD_S):
            pass

    async def wait_failed(self) -> str:
        """Returns, with the reason, when a part of the node has failed and it must stop."""
        fatal = asyncio.create_task(self._replica.wait_fatal(), name="replica")
        done, _ = await asyncio.wait([fatal, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        fatal.cancel()
        failed = done.pop()
        if failed is fatal:
            return f"replica: {fatal.result()}"
        # Only the kind: the text of an unforeseen exception might hold a secret.
        error = failed.exception()
        return f"{failed.get_name()}: {type(error).__name__}" if error else f"{failed.get_name()} ended"

    async def stop(self) -> None:
        """Drains and stops everything; bounded by rpc.drain_ms and a few seconds."""
        log.info("node.stopping", node=self._config.node.id)
        await self._health.enter_graceful_shutdown()
        self._watching.close()
        self._carrying.close()
        drain_s = self._config.rpc.drain_ms / 1000
        if self._enrol_server is not None:
            await self._enrol_server.stop(drain_s)
        await self._server.stop(drain_s)
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        await self._links.close()
        await self._replica.stop()
        self._calls.close()
        self._spool.close()
        if self._endpoint is not None:
            self._endpoint.stop()
        self._spans.close()
        self._roots.wipe()
        log.info("node.stopped", node=self._config.node.id)

    def _wipe_keys(self) -> None:
        self._versions.wipe()
        self._drawing.wipe()

    def _leader_hint(self, error: QkmsError) -> dict[str, str]:
        """Where to go instead, for errors that another node may not have."""
        if error.retry_after_s is None:
            return {}
        leader = self._replica.status().leader_id
        with self._store.view() as state:
            record = self._members.of(state).get(leader or "")
        return {"leader": record.node_id, "leader_address": record.rpc_address} if record else {}

    def _holds_root(self, state: State) -> bool:
        root = state.roots.get(state.active_epoch)
        return root is not None and self._roots.holds(root)

    async def _watch_health(self) -> None:
        bound_s = self._config.limits.default_max_staleness_ms / 1000
        while True:
            status = self._replica.status()
            fresh = status.staleness_s is not None and status.staleness_s <= bound_s
            with self._store.view() as state:
                ready = self._holds_root(state)
            audited = not self._audit.refuses
            read = fresh and ready and audited
            write = read and status.leader_id is not None
            certificate = not self._certificates.warnings
            self._serving = {"read": read, "write": write, "certificate": certificate}
            await self._set_health(READ, read)
            await self._set_health(WRITE, write)
            await self._set_health(AUDIT, not self._audit.failure)
            await self._set_health(CERTIFICATE, certificate)
            await self._set_health("", True)
            await asyncio.sleep(HEALTH_PERIOD_S)

    async def _set_health(self, service: str, serving: bool) -> None:
        response = health_pb2.HealthCheckResponse
        await self._health.set(service, response.SERVING if serving else response.NOT_SERVING)


def make_spans(config: Config) -> Spans:
    """Where the node's spans go. Raises TracingUnavailable."""
    tracing = config.tracing
    if tracing is None:
        return NoSpans()
    return OtlpSpans(tracing.endpoint, tracing.sample_ratio, config.node.id, config.cluster.id)


def make_ca(config: Config) -> SigningCa | None:
    """The CA, at a node that may sign. Raises CaUnusable."""
    ca = config.ca
    if ca is None:
        return None
    return SigningCa(config.tls.ca, ca.key_file, ca.passphrase_file, timedelta(seconds=ca.leaf_lifetime_s))


def now_ms() -> int:
    """Milliseconds since the Unix epoch, by this node's clock."""
    return time.time_ns() // 1_000_000
