"""What a node offers: its gRPC listeners with every service on them, and the northbound faces.

Leaves out when they start and stop, which `node` orders.
"""

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

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
from qkms_node.assembly.background import Background
from qkms_node.assembly.foundation import Foundation, now_ms
from qkms_node.northbound.listeners import Northbound
from qkms_node.northbound.supply import ClusterSupply
from qkms_node.rpc.audit_servicer import AuditServicer
from qkms_node.rpc.call_audit import CallAudit
from qkms_node.rpc.carrying_servicer import CarryingServicer
from qkms_node.rpc.cluster_servicer import ClusterServicer, QkdServicer
from qkms_node.rpc.enrol_servicer import EnrolServicer
from qkms_node.rpc.header import Headers
from qkms_node.rpc.interceptor import CallInterceptor
from qkms_node.rpc.key_servicer import KeyServicer
from qkms_node.rpc.policy_servicer import PolicyServicer
from qkms_node.rpc.server import make_enrol_server, make_server
from qkms_node.rpc.session_servicer import SessionServicer
from qkms_node.service.access import Access
from qkms_node.service.backup import Backup
from qkms_node.service.cluster import Cluster
from qkms_node.service.crypto import Crypto
from qkms_node.service.encapsulating import Encapsulating
from qkms_node.service.keys import Keys
from qkms_node.service.restoring import Restoring
from qkms_node.service.roster import Roster
from qkms_node.service.sae_keys import SaeKeyLimits, SaeKeys
from qkms_node.service.sealing import Sealing
from qkms_node.service.sessions import Sessions
from qkms_node.service.signing import Signing
from qkms_node.service.staging import Staging
from qkms_node.service.transport import Transport
from qkms_node.service.watching import Watching

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


class Faces:
    """The listeners, bound from the start; they serve once started."""

    def __init__(
        self, base: Foundation, background: Background, health_servicer: health.aio.HealthServicer
    ) -> None:
        self._base = base
        self._background = background
        self._headers = Headers(base.config.node.id, base.replica, base.store)
        self._watching = Watching(base.guard, base.store, base.freshness)
        call_audit = CallAudit(base.calls, now_ms)
        around = (base.leader_hint, base.metrics, base.spans, call_audit)
        calls = CallInterceptor(*around)
        self._carrying = self._make_carrying(calls)
        self._server = make_server(base.config, calls)
        self._add_keys(self._server)
        self._add_cluster(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, self._server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._servers = [self._server]
        self._northbound = make_northbound(base)
        enrol = EnrolServicer(background.enrolment, self._headers, base.config.tls.trust_domain)
        enrol_pb2_grpc.add_EnrolServiceServicer_to_server(enrol, self._server)
        if base.config.enrol is not None:
            anonymous = CallInterceptor(*around, anonymous=True)
            server = make_enrol_server(base.config, base.config.enrol.listen, anonymous)
            enrol_pb2_grpc.add_EnrolServiceServicer_to_server(enrol, server)
            self._servers.append(server)

    async def start(self) -> None:
        """Returns when every listener takes calls."""
        if self._northbound is not None:
            await self._northbound.start()
        for server in self._servers:
            await server.start()

    async def stop(self, drain_s: float) -> None:
        """Ends streams at once; lets each listener's calls in flight end within `drain_s`."""
        self._watching.close()
        self._carrying.close()
        if self._northbound is not None:
            await self._northbound.stop()
        for server in reversed(self._servers):
            await server.stop(drain_s)

    def _make_carrying(self, calls: CallInterceptor) -> CarryingServicer:
        guard, versions = self._base.guard, self._background.versions
        return CarryingServicer(
            Crypto(guard, versions),
            Signing(guard, versions),
            Encapsulating(guard, versions),
            self._headers,
            calls.serve,
            self._base.config.limits.max_concurrent_calls,
        )

    def _add_keys(self, server: grpc.aio.Server) -> None:
        """Keys and their use: KeyService, CryptoService, SessionService."""
        base, materials = self._base, self._background.materials
        guard, store, roots = base.guard, base.store, base.roots
        proposer, freshness = base.proposer, base.freshness
        keys = Keys(guard, store, proposer, freshness, materials)
        staging = Staging(guard, base.replica, store, proposer, freshness, materials)
        transport = Transport(guard, base.replica, store, roots, freshness, materials)
        sessions = Sessions(guard, store, roots, proposer, freshness)
        key_pb2_grpc.add_KeyServiceServicer_to_server(
            KeyServicer(keys, staging, transport, self._watching, self._headers, base.config.limits), server
        )
        crypto_pb2_grpc.add_CryptoServiceServicer_to_server(self._carrying, server)
        session_pb2_grpc.add_SessionServiceServicer_to_server(SessionServicer(sessions, self._headers), server)

    def _add_cluster(self, server: grpc.aio.Server) -> None:
        """The cluster and who may do what in it: ClusterService, QkdService, PolicyService, AuditService."""
        base, background, headers = self._base, self._background, self._headers
        config, guard, store, roots = base.config, base.guard, base.store, base.roots
        replica, proposer, freshness = base.replica, base.proposer, base.freshness
        cluster = Cluster(
            config,
            guard,
            replica,
            store,
            roots,
            base.links,
            proposer,
            background.upkeep,
            base.members,
            background.certificates,
            lambda: background.audit.failure,
        )
        roster = Roster(
            config.node.id, guard, base.members, background.membership, replica, store, proposer, freshness
        )
        sealing = Sealing(config, guard, replica, store, roots, background.voter)
        backup = Backup(config, guard, store, roots, freshness, now_ms)
        restoring = Restoring(config, guard, store, roots, proposer)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(
            ClusterServicer(cluster, roster, sealing, background.recovery, backup, restoring, headers), server
        )
        qkd_pb2_grpc.add_QkdServiceServicer_to_server(QkdServicer(cluster, headers), server)
        access = Access(guard, store, proposer, freshness)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(PolicyServicer(access, headers), server)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(background.audit, headers), server)


def make_northbound(base: Foundation) -> Northbound | None:
    """The northbound faces, where there is a section for them."""
    section = base.config.northbound
    if section is None:
        return None
    limits = SaeKeyLimits(section.max_waiting, section.max_uncollected_ms)
    keys = SaeKeys(base.guard, base.store, base.roots, base.proposer, base.freshness, limits)
    supply = ClusterSupply(section, base.config.cluster.id, base.config.node.id, keys)
    return Northbound(base.config, section, supply, base.calls, base.metrics, base.spans, now_ms)
