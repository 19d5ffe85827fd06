"""ClusterService and QkdService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.v1 import cluster_pb2 as pb
from qkms.v1 import cluster_pb2_grpc, qkd_pb2, qkd_pb2_grpc
from qkms_node.rpc import messages
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.root_servicer import BackupMethods, RecoveryMethods, SealMethods, seal_status
from qkms_node.rpc.server import caller
from qkms_node.service.backup import Backup
from qkms_node.service.cluster import Cluster
from qkms_node.service.freshness import STALE_OK
from qkms_node.service.recovery import Recovery
from qkms_node.service.restoring import Restoring
from qkms_node.service.sealing import Sealing

Context = grpc.aio.ServicerContext[Any, Any]


class ClusterServicer(SealMethods, RecoveryMethods, BackupMethods, cluster_pb2_grpc.ClusterServiceServicer):
    """Serves qkms.v1.ClusterService."""

    def __init__(
        self,
        cluster: Cluster,
        sealing: Sealing,
        recovery: Recovery,
        backup: Backup,
        restoring: Restoring,
        headers: Headers,
    ) -> None:
        self._cluster = cluster
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
            seal=seal_status(self._sealing.view()),
            epoch_uses=[messages.epoch_use(use) for use in view.epoch_uses],
            recovery_set_id=view.recovery_set,
            members=[
                pb.Member(
                    id=m.id,
                    rpc_address=m.rpc_address,
                    connected=m.id == config.node.id or m.id in view.replica.connected,
                )
                for m in config.cluster.members
            ],
        )
        if view.root is not None:
            status.root.CopyFrom(messages.root(view.root))
        return pb.GetStatusResponse(header=self._headers.make(STALE_OK), status=status)

    async def RotateRoot(self, request: pb.RotateRootRequest, context: Context) -> pb.RotateRootResponse:
        identity = mutation_request(request, request.request_id)
        outcome = await self._cluster.rotate_root(identity, request.expected_epoch)
        return pb.RotateRootResponse(header=self._headers.make(), replayed=outcome.replayed)


class QkdServicer(qkd_pb2_grpc.QkdServiceServicer):
    """Serves qkms.v1.QkdService."""

    def __init__(self, cluster: Cluster, headers: Headers) -> None:
        self._cluster = cluster
        self._headers = headers

    async def ListLinks(self, request: qkd_pb2.ListLinksRequest, context: Context) -> qkd_pb2.ListLinksResponse:
        config = self._cluster.config
        saes = {m.id: m.sae_id for m in config.cluster.members}
        links = [
            messages.link(peer, config.me.sae_id, saes[peer], seen, self._cluster.link_problem(peer))
            for peer, seen in self._cluster.links(caller.get()).items()
        ]
        return qkd_pb2.ListLinksResponse(header=self._headers.make(STALE_OK), links=links)
