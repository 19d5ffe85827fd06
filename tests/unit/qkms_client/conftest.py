"""Scripted nodes: real grpc.aio servers with real mutual TLS that answer as a test tells them.

A script is a function of the request and the number of the call (0 for the
first) at that node. It gives a response message, or raises Refuse for a typed
error or Drop for an answer that is lost after the node did its work. A silent
node takes requests and never answers. The script of a stream yields messages
and ends in the same ways.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from qkms.v1 import common_pb2
from qkms_client import AsyncClient, Client, Profile
from qkms_node.pki import Authority, Identity

Script: TypeAlias = Callable[[Message, int], Message]
StreamScript: TypeAlias = Callable[[Message, int], AsyncIterator[Message]]
Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


@dataclass
class Refuse(Exception):
    """A typed error of the node."""

    reason: str
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None

    def details(self) -> bytes:
        """The google.rpc.Status of the trailing metadata."""
        info = AnyMessage()
        info.Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain="qkms", metadata=self.metadata))
        status = status_pb2.Status(message=f"scripted {self.reason}", details=[info])
        if self.retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_after_s * 1000))
            status.details.add().Pack(retry)
        return bytes(status.SerializeToString())


class Drop(Exception):
    """The node did its work; the connection breaks before its answer arrives."""


@dataclass
class ScriptedNode(grpc.GenericRpcHandler):
    """One node. `calls` are (method, request) in order of arrival, refused ones included."""

    node_id: str
    address: str = ""
    scripts: dict[str, tuple[type[Message], Script]] = field(default_factory=dict)
    streams: dict[str, tuple[type[Message], StreamScript]] = field(default_factory=dict)
    duplexes: dict[str, tuple[type[Message], StreamScript]] = field(default_factory=dict)
    calls: list[tuple[str, Message]] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    silent: bool = False

    def on(self, method: str, request: type[Message], script: Script) -> None:
        """Answers `Service/Method` by `script` from now on."""
        self.scripts[f"/qkms.v1.{method}"] = (request, script)

    def on_stream(self, method: str, request: type[Message], script: StreamScript) -> None:
        """Answers the streaming `Service/Method` by `script` from now on."""
        self.streams[f"/qkms.v1.{method}"] = (request, script)

    def on_duplex(self, method: str, request: type[Message], script: StreamScript) -> None:
        """Answers each request of the bidirectional `Service/Method` by `script` from now on."""
        self.duplexes[f"/qkms.v1.{method}"] = (request, script)

    def requests(self, method: str) -> list[Message]:
        """The requests that arrived for `Service/Method`."""
        return [request for path, request in self.calls if path == f"/qkms.v1.{method}"]

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Message, Message] | None":
        """The handler of a method, or None (UNIMPLEMENTED) without a script."""
        path = str(details.method)
        if path in self.streams:
            request, streaming = self.streams[path]
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(path, streaming),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        if path in self.duplexes:
            request, streaming = self.duplexes[path]
            return grpc.stream_stream_rpc_method_handler(
                self._duplex(path, streaming),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        if path not in self.scripts:
            return None
        request, script = self.scripts[path]
        return grpc.unary_unary_rpc_method_handler(
            self._answering(path, script),
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _answering(self, path: str, script: Script) -> Callable[[Message, Context], Awaitable[Message]]:
        async def answer(request: Message, context: Context) -> Message:
            number = await self._arrived(path, request, context)
            try:
                return script(request, number)
            except (Refuse, Drop) as end:
                await _end(end, context)
                raise

        return answer

    def _streaming(self, path: str, script: StreamScript) -> Callable[[Message, Context], AsyncIterator[Message]]:
        async def answer(request: Message, context: Context) -> AsyncIterator[Message]:
            number = await self._arrived(path, request, context)
            try:
                async for message in script(request, number):
                    yield message
            except (Refuse, Drop) as end:
                await _end(end, context)

        return answer

    def _duplex(
        self, path: str, script: StreamScript
    ) -> Callable[[AsyncIterator[Message], Context], AsyncIterator[Message]]:
        one = self._streaming(path, script)

        async def answer(requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:
            async for request in requests:
                async for message in one(request, context):
                    yield message

        return answer

    async def _arrived(self, path: str, request: Message, context: Context) -> int:
        number = sum(1 for known, _ in self.calls if known == path)
        self.calls.append((path, request))
        self.peers += [i.decode() for i in context.peer_identities() or ()]
        if self.silent:
            await asyncio.Event().wait()
        return number


async def _end(end: Refuse | Drop, context: Context) -> None:
    if isinstance(end, Refuse):
        details = (("grpc-status-details-bin", end.details()),)
        await context.abort(end.code, f"scripted {end.reason}", trailing_metadata=details)
    await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def header(revision: int = 1, *, node: str = "", leader: str = "", term: int = 1) -> common_pb2.ResponseHeader:
    """A response header."""
    return common_pb2.ResponseHeader(
        revision=revision, term=term, leader_known=bool(leader), node_id=node, leader_id=leader
    )


@dataclass(frozen=True)
class ScriptedCluster:
    """Three nodes and who may call them."""

    nodes: dict[str, ScriptedNode]
    servers: dict[str, grpc.aio.Server]
    authority: Authority

    @property
    def endpoints(self) -> dict[str, str]:
        """Node id to host:port."""
        return {node_id: node.address for node_id, node in self.nodes.items()}

    def profile(self, **times: float) -> Profile:
        """The profile of the service `payments`."""
        material = self.authority.issue(Identity("service", "payments"))
        return Profile(
            endpoints=self.endpoints,
            ca=material.ca,
            certificate=material.certificate,
            private_key=material.private_key,
            **times,
        )

    def on_all(self, method: str, request: type[Message], script: Script) -> None:
        """The same script at each node."""
        for node in self.nodes.values():
            node.on(method, request, script)

    def total(self, method: str) -> int:
        """How many requests for `Service/Method` arrived at all nodes together."""
        return sum(len(node.requests(method)) for node in self.nodes.values())

    async def stop(self, node_id: str) -> None:
        """Ends a node's server: its port refuses connections from now on."""
        await self.servers[node_id].stop(None)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ScriptedCluster]:
    """Three scripted nodes that demand a client certificate."""
    authority = Authority(tmp_path / "pki")
    nodes: dict[str, ScriptedNode] = {}
    servers: dict[str, grpc.aio.Server] = {}
    for node_id in ("node-1", "node-2", "node-3"):
        material = authority.issue(Identity("node", node_id))
        credentials = grpc.ssl_server_credentials(
            [(material.private_key.read_bytes(), material.certificate.read_bytes())],
            root_certificates=material.ca.read_bytes(),
            require_client_auth=True,
        )
        node, server = ScriptedNode(node_id), grpc.aio.server()
        server.add_generic_rpc_handlers((node,))
        node.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        nodes[node_id], servers[node_id] = node, server
    yield ScriptedCluster(nodes, servers, authority)
    for server in servers.values():
        await server.stop(None)


class Sdk:
    """Either client behind one awaitable face, so that one test holds for both."""

    def __init__(self, profile: Profile, kind: str) -> None:
        self.client: Client | AsyncClient = Client(profile) if kind == "Client" else AsyncClient(profile)

    async def __call__(self, method: str, /, *args: Any, **options: Any) -> Any:
        """Calls a method of the client; the blocking one in a thread."""
        call = getattr(self.client, method)
        if isinstance(self.client, AsyncClient):
            return await call(*args, **options)
        return await asyncio.to_thread(call, *args, **options)

    async def close(self) -> None:
        """Closes the client."""
        await self("close")


@pytest.fixture(params=["Client", "AsyncClient"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients."""
    return str(request.param)


@pytest.fixture
async def sdk(cluster: ScriptedCluster, kind: str) -> AsyncIterator[Sdk]:
    """A client of the scripted cluster as the service payments."""
    made = Sdk(cluster.profile(), kind)
    yield made
    await made.close()
