"""ClusterService and QkdService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.v1 import cluster_pb2 as pb
from qkms.v1 import cluster_pb2_grpc, qkd_pb2, qkd_pb2_grpc
from qkms_node.ledger.commands import AddMember
from qkms_node.rpc import fields, link_messages, member_messages, messages
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.rpc.root_servicer import BackupMethods, RecoveryMethods, SealMethods, seal_status
from qkms_node.service.backup import Backup
from qkms_node.service.cluster import Cluster
from qkms_node.service.freshness import STALE_OK, Level, Wanted
from qkms_node.service.recovery import Recovery
from qkms_node.service.restoring import Restoring
from qkms_node.service.roster import Roster
from qkms_node.service.sealing import Sealing

DEFAULT_TOKEN_TTL_MS = 3_600_000
MAX_TOKEN_TTL_MS = 7 * 24 * 3_600_000

# An operator who looks wants the present; a cut-off node says that it cannot tell it.
MEMBERS_FRESH = Wanted(Level.BOUNDED, max_staleness_ms=5_000)

Context = grpc.aio.ServicerContext[Any, Any]


class ClusterServicer(SealMethods, RecoveryMethods, BackupMethods, cluster_pb2_grpc.ClusterServiceServicer):
    """Serves qkms.v1.ClusterService."""

    def __init__(
        self,
        cluster: Cluster,
        roster: Roster,
        sealing: Sealing,
        recovery: Recovery,
        backup: Backup,
        restoring: Restoring,
        headers: Headers,
    ) -> None:
        self._cluster = cluster
        self._roster = roster
        self._sealing = sealing
        self._recovery = recovery
        self._backup = backup
        self._restoring = restoring
        self._headers = headers

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        view = self._cluster.status(caller.get())
        config = self._cluster.config
        status = pb.NodeStatus(
            node_id=config.node.id,
            cluster_id=config.cluster.id,
            role=view.replica.role.value,  # type: ignore[arg-type]
            term=view.replica.term,
            commit_index=view.replica.commit_index,
            applied_index=view.applied_index,
            revision=view.revision,
            state_digest=view.digest,
            open_epochs=view.open_epochs,
            seeding=view.seeding,
            key_count=view.key_count,
            version=view.version,
            start_time=messages.timestamp(int(view.start_s * 1000)),
            audit=view.audit,
            seal=seal_status(self._sealing.view()),
            epoch_uses=[messages.epoch_use(use) for use in view.epoch_uses],
            recovery_set_id=view.recovery_set,
            members=[member_messages.member(view) for view in self._roster.seen()],
            warnings=view.warnings,
            certificate_expire_time=messages.timestamp(view.certificate_expire_ms),
            enrol_address=view.enrol_address,
        )
        if view.root is not None:
            status.root.CopyFrom(messages.root(view.root))
        return pb.GetStatusResponse(header=self._headers.make(STALE_OK), status=status)

    async def RotateRoot(self, request: pb.RotateRootRequest, context: Context) -> pb.RotateRootResponse:
        identity = mutation_request(request, request.request_id)
        outcome = await self._cluster.rotate_root(identity, request.expected_epoch)
        return pb.RotateRootResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or MEMBERS_FRESH
        views = await self._roster.list(caller.get(), wanted)
        return pb.ListMembersResponse(
            header=self._headers.make(wanted), members=[member_messages.member(view) for view in views]
        )

    async def AddMember(self, request: pb.AddMemberRequest, context: Context) -> pb.AddMemberResponse:
        ttl_ms = DEFAULT_TOKEN_TTL_MS
        if request.HasField("token_ttl"):
            ttl_ms = fields.milliseconds("token_ttl", request.token_ttl, 1_000, MAX_TOKEN_TTL_MS)
        node_id = fields.node_id("node_id", request.node_id)
        command = AddMember(
            request=mutation_request(request, request.request_id),
            node_id=node_id,
            raft_address=fields.address("raft_address", request.raft_address),
            rpc_address=fields.address("rpc_address", request.rpc_address),
            sae_id=fields.sae_id("sae_id", request.sae_id or node_id),
            token_hash=fields.sized("token_hash", request.token_hash, 32) if request.token_hash else b"",
            token_ttl_ms=ttl_ms if request.token_hash else 0,
        )
        outcome = await self._roster.add(command)
        return pb.AddMemberResponse(
            header=self._headers.make(),
            member=member_messages.recorded(outcome.member),
            replayed=outcome.replayed,
        )

    async def PromoteMember(self, request: pb.PromoteMemberRequest, context: Context) -> pb.PromoteMemberResponse:
        identity = mutation_request(request, request.request_id)
        outcome = await self._roster.promote(identity, fields.node_id("node_id", request.node_id))
        return pb.PromoteMemberResponse(
            header=self._headers.make(),
            member=member_messages.recorded(outcome.member),
            replayed=outcome.replayed,
        )

    async def RemoveMember(self, request: pb.RemoveMemberRequest, context: Context) -> pb.RemoveMemberResponse:
        identity = mutation_request(request, request.request_id)
        outcome = await self._roster.remove(identity, fields.node_id("node_id", request.node_id))
        return pb.RemoveMemberResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def TransferLeadership(
        self, request: pb.TransferLeadershipRequest, context: Context
    ) -> pb.TransferLeadershipResponse:
        identity = mutation_request(request, request.request_id)
        target = fields.node_id("target", request.target) if request.target else ""
        outcome = await self._roster.transfer(identity, target)
        return pb.TransferLeadershipResponse(header=self._headers.make(), replayed=outcome.replayed)


class QkdServicer(qkd_pb2_grpc.QkdServiceServicer):
    """Serves qkms.v1.QkdService."""

    def __init__(self, cluster: Cluster, headers: Headers) -> None:
        self._cluster = cluster
        self._headers = headers

    async def ListLinks(self, request: qkd_pb2.ListLinksRequest, context: Context) -> qkd_pb2.ListLinksResponse:
        found = self._cluster.links(caller.get())
        local, saes = self._cluster.sae_ids()
        raised = self._cluster.link_alarms(caller.get(), history=False)
        links = [
            link_messages.link(
                peer,
                local,
                saes.get(peer, ""),
                seen,
                self._cluster.link_problem(peer),
                self._cluster.link_view(peer),
                [alarm for alarm in raised if alarm.peer == peer],
            )
            for peer, seen in found.items()
        ]
        return qkd_pb2.ListLinksResponse(header=self._headers.make(STALE_OK), links=links)

    async def ListLinkAlarms(
        self, request: qkd_pb2.ListLinkAlarmsRequest, context: Context
    ) -> qkd_pb2.ListLinkAlarmsResponse:
        found = self._cluster.link_alarms(caller.get(), history=request.history)
        return qkd_pb2.ListLinkAlarmsResponse(
            header=self._headers.make(STALE_OK), alarms=[link_messages.alarm(alarm) for alarm in found]
        )

    async def ListLinkSamples(
        self, request: qkd_pb2.ListLinkSamplesRequest, context: Context
    ) -> qkd_pb2.ListLinkSamplesResponse:
        peer = fields.node_id("peer_node_id", request.peer_node_id)
        found = self._cluster.link_samples(caller.get(), peer)
        return qkd_pb2.ListLinkSamplesResponse(
            header=self._headers.make(STALE_OK), samples=[link_messages.sample(look) for look in found]
        )
