"""Health apart for reads and writes, and reflection, as operators' tools expect them."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from local_node import local_node

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


# The stub packages of these two services do not know asynchronous channels.
health_stub: Any = health_pb2_grpc.HealthStub
reflection_stub: Any = reflection_pb2_grpc.ServerReflectionStub
reflection_request: Any = reflection_pb2.ServerReflectionRequest


async def becomes(channel: grpc.aio.Channel, service: str, wanted: int) -> None:
    watch = health_stub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
    async with asyncio.timeout(20):
        async for answer in watch:
            if answer.status == wanted:
                return


async def test_writes_stop_with_the_quorum_and_reads_go_on_within_their_bound(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, node.channel() as channel:
        for service in ("", "qkms.read", "qkms.write"):
            await becomes(channel, service, SERVING)
        node.replica.cut()
        await becomes(channel, "qkms.write", NOT_SERVING)
        health = health_stub(channel)
        for service in ("", "qkms.read"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == SERVING
        node.replica.heal()
        await becomes(channel, "qkms.write", SERVING)


async def test_reflection_names_every_service(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, node.channel() as channel:
        stub = reflection_stub(channel)
        asked = iter([reflection_request(list_services="")])
        answers = [a async for a in stub.ServerReflectionInfo(asked)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {f"qkms.v1.{s}Service" for s in ("Key", "Crypto", "Session", "Cluster", "Qkd")} <= names
    assert "grpc.health.v1.Health" in names
