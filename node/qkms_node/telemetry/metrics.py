"""The node's Prometheus instruments, in a registry of their own.

Names follow the Prometheus conventions: base units (seconds, bytes), `_total`
for counters. Label values are from closed sets (methods, codes, levels): no
key name, principal or request id ever becomes a label, so the number of
series is bounded and says nothing of who uses what.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ROTATIONS = {"KeyService/RotateKey", "KeyService/ActivateVersion", "ClusterService/RotateRoot"}


class Metrics:
    """All instruments of one node."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._calls = Counter(
            "qkms_rpc_requests",
            "Calls that ended, by method, stable code (OK or an error's), and consistency level of the answer.",
            ("method", "code", "consistency"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "qkms_rpc_duration_seconds",
            "Time from the start of a call to its answer.",
            ("method",),
            buckets=_FAST_S,
            registry=registry,
        )
        self.calls_in_flight = Gauge("qkms_rpc_in_flight", "Calls being answered.", registry=registry)
        self._rotations = Counter(
            "qkms_rotations", "Rotations asked for, by kind and outcome.", ("kind", "code"), registry=registry
        )
        self._proposals = Counter(
            "qkms_proposals", "Commands proposed by this node, by outcome.", ("outcome",), registry=registry
        )
        self._proposal_seconds = Histogram(
            "qkms_proposal_duration_seconds",
            "Time from a proposal to its committed and applied outcome.",
            buckets=_FAST_S,
            registry=registry,
        )
        self._northbound = Counter(
            "qkms_northbound_requests",
            "Requests of encryptors that ended, by protocol, operation and stable code (OK or a refusal's).",
            ("protocol", "operation", "code"),
            registry=registry,
        )
        self._northbound_seconds = Histogram(
            "qkms_northbound_duration_seconds",
            "Time from the start of an encryptor's request to its answer.",
            ("protocol", "operation"),
            buckets=_FAST_S,
            registry=registry,
        )
        self._barriers = Counter(
            "qkms_read_barriers",
            "Read barriers of callers of this node, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self._barrier_seconds = Histogram(
            "qkms_read_barrier_duration_seconds",
            "Time that a read barrier took.",
            buckets=_FAST_S,
            registry=registry,
        )

    def northbound_ended(self, protocol: str, operation: str, code: str, seconds: float) -> None:
        """One request of a northbound face ended: OK, or the code of its refusal."""
        self._northbound.labels(protocol, operation, code).inc()
        self._northbound_seconds.labels(protocol, operation).observe(seconds)

    def collect_from(self, collector: Collector) -> None:
        """Adds what is read at the time of a scrape."""
        self.registry.register(collector)

    def call_ended(self, method: str, code: str, consistency: str, seconds: float) -> None:
        """One call of `method` ("KeyService/RotateKey") came to its end."""
        self._calls.labels(method, code, consistency).inc()
        self._call_seconds.labels(method).observe(seconds)
        if method in ROTATIONS:
            self._rotations.labels(method.partition("/")[2], code).inc()

    def proposed(self, outcome: str, seconds: float) -> None:
        """A proposal ended: `committed`, or the code of the way in which it did not."""
        self._proposals.labels(outcome).inc()
        self._proposal_seconds.observe(seconds)

    def passed_barrier(self, outcome: str, seconds: float) -> None:
        """A read barrier ended: `confirmed`, or the code of its error."""
        self._barriers.labels(outcome).inc()
        self._barrier_seconds.observe(seconds)
