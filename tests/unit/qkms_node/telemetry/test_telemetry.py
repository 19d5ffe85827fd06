"""What a scrape, a health probe and a collector of traces see of a node that is really called."""

import asyncio
import json
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from local_node import LocalNode, local_node
from qkms.v1 import common_pb2, key_pb2, key_pb2_grpc
from qkms_chaos.cluster.ports import free_ports
from qkms_node.config import load
from qkms_node.config_fields import ConfigError
from qkms_node.config_sections import MetricsSection, TracingSection
from qkms_node.telemetry.traces import trace_id_of
from sample_files import NODE_TOML

SECRETIVE = "unmistakable-name"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def metrics() -> MetricsSection:
    return MetricsSection(listen=f"127.0.0.1:{free_ports(1)[0]}")


async def get(metrics: MetricsSection, path: str, method: str = "GET") -> tuple[int, str]:
    def fetch() -> tuple[int, str]:
        answer = httpx.request(method, f"http://{metrics.listen}{path}", timeout=10)
        return answer.status_code, answer.text

    return await asyncio.to_thread(fetch)


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        assert SECRETIVE not in text
        self._samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """0 for a series that is not there yet."""
        return sum(s.value for s in self._samples if s.name == name and s.labels == labels)


async def scrape(metrics: MetricsSection) -> Scrape:
    return Scrape((await get(metrics, "/metrics"))[1])


async def healthy(metrics: MetricsSection, name: str, status: int) -> None:
    for _ in range(200):
        found, _ = await get(metrics, f"/health/{name}")
        if found == status:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"{name} never answered {status}")


async def create(node: LocalNode, request_id: str, traceparent: str = PARENT) -> None:
    async with node.channel() as channel:
        stub: Any = key_pb2_grpc.KeyServiceStub(channel)
        request = key_pb2.CreateKeyRequest(request_id=request_id, key_id=SECRETIVE, algorithm=key_pb2.AES_256_GCM)
        await stub.CreateKey(request, metadata=(("traceparent", traceparent),))


async def read(node: LocalNode, level: common_pb2.ConsistencyLevel.ValueType) -> None:
    async with node.channel() as channel:
        stub: Any = key_pb2_grpc.KeyServiceStub(channel)
        wanted = common_pb2.Consistency(level=level)
        await stub.GetKey(key_pb2.GetKeyRequest(name=f"keys/{SECRETIVE}", consistency=wanted))


async def test_calls_are_counted_by_method_code_and_level(tmp_path: Path, metrics: MetricsSection) -> None:
    async with local_node(tmp_path, metrics=metrics) as node:
        await healthy(metrics, "write", 200)
        before = await scrape(metrics)
        await create(node, "6f1d0b2e-0000-4000-8000-000000000001")
        await create(node, "6f1d0b2e-0000-4000-8000-000000000001")
        with pytest.raises(grpc.aio.AioRpcError):
            await create(node, "6f1d0b2e-0000-4000-8000-000000000002")
        for level in (common_pb2.LINEARIZABLE, common_pb2.STALE_OK, common_pb2.STALE_OK):
            await read(node, level)
        after = await scrape(metrics)

    def calls(method: str, code: str, consistency: str) -> float:
        return after.value("qkms_rpc_requests_total", method=method, code=code, consistency=consistency)

    assert calls("KeyService/CreateKey", "OK", "LINEARIZABLE") == 2
    assert calls("KeyService/CreateKey", "KEY_EXISTS", "none") == 1
    assert calls("KeyService/GetKey", "OK", "LINEARIZABLE") == 1
    assert calls("KeyService/GetKey", "OK", "STALE_OK") == 2
    assert after.value("qkms_rpc_duration_seconds_count", method="KeyService/CreateKey") == 3
    committed = [s.value("qkms_proposals_total", outcome="committed") for s in (before, after)]
    assert committed[1] >= committed[0] + 3
    assert after.value("qkms_read_barriers_total", outcome="confirmed") >= 1
    assert after.value("qkms_keys", algorithm="AES_256_GCM") == 1
    assert after.value("qkms_key_versions", state="ACTIVE") == 1
    assert after.value("qkms_raft_role", role="leader") == 1
    assert after.value("qkms_rpc_in_flight") == 0


async def test_a_scrape_says_that_the_node_is_sealed(tmp_path: Path, metrics: MetricsSection) -> None:
    async with local_node(tmp_path, metrics=metrics) as node:
        await healthy(metrics, "write", 200)
        assert (await scrape(metrics)).value("qkms_sealed", mode="keyfile") == 0
        node.roots().seal()
        assert (await scrape(metrics)).value("qkms_sealed", mode="keyfile") == 1
        node.roots().unseal(b"")
        assert (await scrape(metrics)).value("qkms_sealed", mode="keyfile") == 0


async def test_health_over_http_tells_reads_from_writes(tmp_path: Path, metrics: MetricsSection) -> None:
    async with local_node(tmp_path, metrics=metrics) as node:
        await healthy(metrics, "write", 200)
        node.replica.cut()
        await healthy(metrics, "write", 503)
        status, body = await get(metrics, "/health/read")
        assert (status, json.loads(body)) == (200, {"read": True, "write": False, "certificate": True})
        assert (await get(metrics, "/health/live"))[0] == 200
        assert (await get(metrics, "/health/other"))[0] == 404
        assert (await get(metrics, "/metrics", "POST"))[0] == 405


async def test_the_log_line_of_a_call_has_its_trace_and_request(tmp_path: Path, metrics: MetricsSection) -> None:
    request_id = "6f1d0b2e-0000-4000-8000-000000000003"
    async with local_node(tmp_path, metrics=metrics) as node:
        await healthy(metrics, "write", 200)
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            await create(node, request_id)
    (line,) = [line for line in lines if line["event"] == "rpc.call"]
    assert (line["trace_id"], line["request_id"], line["code"]) == (TRACE, request_id, "OK")


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A real OTLP receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    servicer = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


async def test_spans_of_a_call_continue_the_callers_trace(
    tmp_path: Path, metrics: MetricsSection, collector: tuple[Collector, str]
) -> None:
    received, endpoint = collector
    async with local_node(tmp_path, metrics=metrics, tracing=TracingSection(endpoint=endpoint)) as node:
        await healthy(metrics, "write", 200)
        await create(node, "6f1d0b2e-0000-4000-8000-000000000004")
    mine = {span.name: span for span in received.spans if span.trace_id.hex() == TRACE}
    assert set(mine) >= {"KeyService/CreateKey", "propose"}
    call = mine["KeyService/CreateKey"]
    assert call.parent_span_id.hex() == PARENT.split("-")[2]
    assert mine["propose"].parent_span_id == call.span_id
    assert not any(SECRETIVE in str(span) for span in received.spans)


@pytest.mark.parametrize("sent", [None, "", "00-short-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01"])
def test_without_a_valid_traceparent_a_trace_id_is_drawn(sent: str | None) -> None:
    one, other = trace_id_of(sent), trace_id_of(sent)
    assert len(one) == 32
    assert one != other


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ('[metrics]\nlisten = "0.0.0.0:9100"', "metrics.listen"),
        ('[metrics]\nlisten = "metrics.example:9100"', "metrics.listen"),
        ('[tracing]\nendpoint = "http://collector.example:4317"', "tracing.endpoint"),
    ],
)
def test_what_is_not_authenticated_stays_on_loopback(tmp_path: Path, section: str, field: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(NODE_TOML + section)
    with pytest.raises(ConfigError, match=field):
        load(path)


async def test_the_audit_is_seen_to_grow(tmp_path: Path, metrics: MetricsSection) -> None:
    async with local_node(tmp_path, metrics=metrics) as node:
        await healthy(metrics, "write", 200)
        before = await scrape(metrics)
        assert before.value("qkms_audit_writable") == 1
        await create(node, "7f1c6d52-2b43-4d5f-8a86-0b1f5a5d9f01")
        after = await scrape(metrics)
        for name in ("qkms_audit_call_records", "qkms_audit_mutation_records"):
            assert after.value(name) > before.value(name)
        assert after.value("qkms_audit_records_lost_total") == 0
