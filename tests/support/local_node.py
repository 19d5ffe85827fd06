"""One real node in this process: real gRPC, real mutual TLS, an in-memory replica, no QKD."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from qkms_chaos.cluster.ports import free_ports
from qkms_client.profile import Profile
from qkms_node.config import Config
from qkms_node.config_quantum import NorthboundSection, RootSection
from qkms_node.config_sections import (
    AccessSection,
    AuditSection,
    CaSection,
    ClusterSection,
    EnrolSection,
    Member,
    MetricsSection,
    NodeSection,
    RaftSection,
    RpcSection,
    Rule,
    SealSection,
    TlsSection,
    TracingSection,
)
from qkms_node.consensus.local import LocalReplica
from qkms_node.consensus.replica import StateMachine
from qkms_node.node import Node
from qkms_node.pki import Authority, Identity, Material
from qkms_node.service.links import Links
from qkms_node.service.roots import RootStore

ALICE = Identity("service", "alice")
BOB = Identity("service", "bob")
ANYTHING = Rule(principals=("*",), actions=("*",))


@dataclass
class LocalNode:
    """What a test needs of the node: where it listens, its CA, its replica."""

    address: str
    authority: Authority
    replica: LocalReplica
    config: Config
    stop: Callable[[], Coroutine[Any, Any, None]]
    machine: StateMachine
    node: Node

    def roots(self) -> RootStore:
        """The roots that the node holds."""
        return self.node.base.roots

    def ledger(self) -> list[bytes]:
        """The state as a journal would bring it back."""
        return list(self.machine.snapshot())

    def profile(self, identity: Identity = ALICE) -> Profile:
        """A client profile of `identity`."""
        material = self.authority.issue(identity)
        return Profile({"node-1": self.address}, material.ca, material.certificate, material.private_key)

    def channel(self, identity: Identity = ALICE, authority: Authority | None = None) -> grpc.aio.Channel:
        """A channel as `identity`, certified by this node's CA or another."""
        material = (authority or self.authority).issue(identity)
        return grpc.aio.secure_channel(self.address, credentials(material, self.authority.certificate_path))


def credentials(material: Material, ca: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        ca.read_bytes(), material.private_key.read_bytes(), material.certificate.read_bytes()
    )


def config(
    folder: Path,
    material: Material,
    rules: tuple[Rule, ...],
    admin: tuple[str, ...] = (),
    audit: AuditSection | None = None,
    metrics: MetricsSection | None = None,
    tracing: TracingSection | None = None,
    seal: SealSection | None = None,
    root: RootSection | None = None,
    cluster_id: str = "test",
    ca: CaSection | None = None,
    enrol: EnrolSection | None = None,
    northbound: NorthboundSection | None = None,
) -> Config:
    raft, rpc = (f"127.0.0.1:{port}" for port in free_ports(2))
    member = Member(id="node-1", raft_address=raft, rpc_address=rpc, sae_id="node-1")
    return Config(
        node=NodeSection(id="node-1", data_dir=folder / "data"),
        cluster=ClusterSection(id=cluster_id, members=(member,)),
        raft=RaftSection(listen=raft),
        rpc=RpcSection(listen=rpc, drain_ms=500),
        tls=TlsSection(ca=material.ca, certificate=material.certificate, private_key=material.private_key),
        seal=seal or SealSection(mode="keyfile", key_file=folder / "seal.key"),
        root=root or RootSection(policy="pqc_only"),
        access=AccessSection(rules=rules, admin=admin),
        audit=audit or AuditSection(),
        metrics=metrics,
        tracing=tracing,
        ca=ca,
        enrol=enrol,
        northbound=northbound,
    )


@asynccontextmanager
async def local_node(
    folder: Path,
    rules: tuple[Rule, ...] = (ANYTHING,),
    admin: tuple[str, ...] = (),
    audit: AuditSection | None = None,
    metrics: MetricsSection | None = None,
    tracing: TracingSection | None = None,
    seal: SealSection | None = None,
    root: RootSection | None = None,
    cluster_id: str = "test",
    ledger: list[bytes] | None = None,
    ca: CaSection | None = None,
    enrol: EnrolSection | None = None,
    northbound: NorthboundSection | None = None,
) -> AsyncIterator[LocalNode]:
    """Starts the node and stops it; the root is seeded by the node itself, grade PQC.

    `ledger`: chunks of the state to start from, as after a restart with its journal.
    """
    authority = Authority(folder / "pki")
    material = authority.issue(Identity("node", "node-1"))
    settings = config(
        folder, material, rules, admin, audit, metrics, tracing, seal, root, cluster_id, ca, enrol, northbound
    )
    settings.node.data_dir.mkdir(parents=True, exist_ok=True)
    replicas: list[LocalReplica] = []
    machines: list[StateMachine] = []

    def make(machine: StateMachine) -> LocalReplica:
        if ledger is not None:
            deque(machine.restore(ledger)(), maxlen=0)
        machines.append(machine)
        replicas.append(LocalReplica("node-1", machine))
        return replicas[0]

    node = Node(settings, make, Links.none())
    await node.start()
    stopped: asyncio.Task[None] | None = None

    async def stop() -> None:
        nonlocal stopped
        stopped = stopped or asyncio.create_task(node.stop())
        await stopped

    try:
        yield LocalNode(settings.rpc.listen, authority, replicas[0], settings, stop, machines[0], node)
    finally:
        await stop()
