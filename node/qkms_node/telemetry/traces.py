"""Spans of calls, exported over OTLP where the configuration names a collector; else nothing.

The identity of a trace comes from the caller's `traceparent` (W3C Trace
Context), or is drawn here, so that log lines of one call share a `trace_id`
whether or not traces are exported. Names of keys and principals are not put
into spans: a collector is outside the cluster's trust.

OpenTelemetry is the optional dependency `qkms-node[tracing]`, imported only
when it is configured.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
EXPORT_WAIT_MS = 2_000


class TracingUnavailable(Exception):
    """Tracing is configured and its library is not installed."""

    code = "TRACING_UNAVAILABLE"


class Spans(Protocol):
    """Where spans go."""

    def call(self, name: str, traceparent: str | None) -> Any:
        """A context manager around one call of this node's API; yields its trace id (32 hex digits)."""
        ...

    def part(self, name: str) -> Any:
        """A context manager around a part of the call in hand."""
        ...

    def close(self) -> None:
        """Exports what is left, within a bounded time."""
        ...


def trace_id_of(traceparent: str | None) -> str:
    """The trace id that a caller sent, or a new one."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return match[1] if match and set(match[1]) != {"0"} else secrets.token_hex(16)


class NoSpans:
    """Trace ids for the log and nothing else."""

    @contextmanager
    def call(self, name: str, traceparent: str | None) -> Iterator[str]:
        """Only the trace id."""
        yield trace_id_of(traceparent)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Nothing."""
        yield

    def close(self) -> None:
        """Nothing is left to export."""


class OtlpSpans:
    """Spans to the OTLP collector at `endpoint` (gRPC); `ratio` of the traces begun here are sampled."""

    def __init__(self, endpoint: str, ratio: float, node_id: str, cluster_id: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
            from opentelemetry.trace import SpanKind
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise TracingUnavailable(
                "tracing is configured and OpenTelemetry is not installed: pip install 'qkms-node[tracing]'"
            ) from error
        resource = Resource.create(
            {"service.name": "qkms-node", "service.instance.id": node_id, "service.namespace": cluster_id}
        )
        self._provider = TracerProvider(resource=resource, sampler=ParentBasedTraceIdRatio(ratio))
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=2)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("qkms_node")
        self._server_kind = SpanKind.SERVER
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def call(self, name: str, traceparent: str | None) -> Iterator[str]:
        """A server span, child of the caller's where it sent one."""
        parent = self._propagator.extract({"traceparent": traceparent} if traceparent else {})
        with self._tracer.start_as_current_span(
            name, context=parent, kind=self._server_kind, record_exception=False
        ) as span:
            yield f"{span.get_span_context().trace_id:032x}"

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A child of the span in hand; an exception marks it, its text stays out."""
        with self._tracer.start_as_current_span(name, record_exception=False):
            yield

    def close(self) -> None:
        """Exports what is left."""
        self._provider.force_flush(EXPORT_WAIT_MS)
        self._provider.shutdown()
