"""The in-memory server: a node on an event loop of its own thread.

Everything it writes (a CA, certificates, a sealed root) goes to a temporary
folder that is removed at the end. State is lost with the object.
"""

import asyncio
import socket
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from qkms_client.aio.client import AsyncClient
from qkms_client.profile import Profile
from qkms_client.sync.client import Client
from qkms_node import config_sections as settings
from qkms_node.config import Config
from qkms_node.config_quantum import RootSection
from qkms_node.consensus.local import LocalReplica
from qkms_node.consensus.replica import StateMachine
from qkms_node.node import Node
from qkms_node.pki import Authority, Identity, Material
from qkms_node.service.links import Links

NODE_ID = "memory-1"
START_S = 30.0
T = TypeVar("T")
EVERYTHING = settings.Rule(principals=("*",), actions=("*",))


class MemoryServer:
    """A server of one node; a context manager. `rules`: the access policy, by default everything."""

    def __init__(self, rules: tuple[settings.Rule, ...] = (EVERYTHING,)) -> None:
        self._rules = rules
        self._folder = tempfile.TemporaryDirectory(prefix="qkms-memory-")
        self._authority = Authority(Path(self._folder.name) / "pki")
        self._replica: LocalReplica | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qkms-memory", daemon=True)
        self._config = self._settings()

    @property
    def address(self) -> str:
        """host:port of the gRPC listener."""
        return self._config.rpc.listen

    def profile(self, name: str) -> Profile:
        """A profile for the service `name`, whose principal is `spiffe://qkms.dev/service/{name}`."""
        material = self._authority.issue(Identity("service", name))
        return Profile({NODE_ID: self.address}, material.ca, material.certificate, material.private_key)

    def client(self, name: str) -> Client:
        """A blocking client of the service `name`."""
        return Client(self.profile(name))

    def async_client(self, name: str) -> AsyncClient:
        """An asyncio client of the service `name`."""
        return AsyncClient(self.profile(name))

    def cut(self) -> None:
        """Takes the quorum away: writes and linearizable reads are refused, staleness grows."""
        if self._replica is not None:
            self._replica.cut()

    def heal(self) -> None:
        """Gives the quorum back."""
        if self._replica is not None:
            self._replica.heal()

    def __enter__(self) -> Self:
        self._thread.start()
        self._node = self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    async def _start(self) -> Node:
        node = Node(self._config, self._make_replica, Links.none())
        await node.start()
        await node.wait_root()
        return node

    def _make_replica(self, machine: StateMachine) -> LocalReplica:
        self._replica = LocalReplica(NODE_ID, machine)
        return self._replica

    def _settings(self) -> Config:
        folder = Path(self._folder.name)
        material: Material = self._authority.issue(Identity("node", NODE_ID))
        listen = f"127.0.0.1:{_free_port()}"
        (folder / "data").mkdir(mode=0o700)
        return Config(
            node=settings.NodeSection(id=NODE_ID, data_dir=folder / "data"),
            cluster=settings.ClusterSection(
                id="memory",
                members=(settings.Member(id=NODE_ID, raft_address=listen, rpc_address=listen, sae_id=NODE_ID),),
            ),
            raft=settings.RaftSection(listen=listen),
            rpc=settings.RpcSection(listen=listen, drain_ms=200),
            tls=settings.TlsSection(
                ca=material.ca, certificate=material.certificate, private_key=material.private_key
            ),
            seal=settings.SealSection(mode="keyfile", key_file=folder / "seal.key"),
            root=RootSection(policy="pqc_only"),
            access=settings.AccessSection(rules=self._rules),
        )

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(START_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
