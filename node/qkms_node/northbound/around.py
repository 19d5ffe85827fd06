"""What stands around every request of a northbound face: admission, the audit record, counts and the log line.

As `rpc.interceptor` for gRPC: no answer leaves before the audit has its record. Where that record cannot be
written after a draw or a collection was committed, the answer with the key is withheld, and the key stays
consumed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from qkms_node.access.call_log import CallLog
from qkms_node.access.call_record import call_record
from qkms_node.access.trail import Trail, trail
from qkms_node.errors import QkmsError
from qkms_node.northbound.supply import caller_principal
from qkms_node.telemetry.metrics import Metrics
from qkms_node.telemetry.traces import Spans
from qkms_qkd.serving.supply import UnavailableError
from qkms_qkd.serving.web import CODE, answered, peer_certificate, unavailable

log = structlog.get_logger(__name__)

OPERATIONS = {
    "/api/v1/keys/{sae}/status": "status",
    "/api/v1/keys/{sae}/enc_keys": "draw",
    "/api/v1/keys/{sae}/dec_keys": "collect",
    "/capabilities": "capabilities",
    "/key": "draw",
    "/key/{key_id}": "collect",
    "/entropy": "entropy",
}
NOBODY = "unnamed"
_Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Around:
    """A middleware for the application of one `protocol`."""

    def __init__(
        self,
        protocol: str,
        calls: CallLog,
        metrics: Metrics,
        spans: Spans,
        now_ms: Callable[[], int],
        at_once: int,
    ) -> None:
        self._protocol = protocol
        self._calls = calls
        self._metrics = metrics
        self._spans = spans
        self._now_ms = now_ms
        self._at_once = at_once
        self._in_hand = 0

    @web.middleware
    async def serve(self, request: web.Request, handler: _Respond) -> web.StreamResponse:
        """One request."""
        resource = request.match_info.route.resource
        operation = OPERATIONS.get(resource.canonical if resource else "", "none")
        begun = time.perf_counter()
        method = f"northbound/{self._protocol}.{operation}"
        with (
            self._spans.call(method, request.headers.get("traceparent")) as trace_id,
            structlog.contextvars.bound_contextvars(trace_id=trace_id),
        ):
            principal = _principal(request)
            self._in_hand += 1
            try:
                answer = await self._answered(request, handler, method, principal)
            finally:
                self._in_hand -= 1
            code = _code(answer)
            self._metrics.northbound_ended(self._protocol, operation, code, time.perf_counter() - begun)
            log.info(
                "northbound.call",
                method=method,
                principal=principal,
                code=code,
                ms=round((time.perf_counter() - begun) * 1000, 2),
            )
            return answer

    async def _answered(
        self, request: web.Request, handler: _Respond, method: str, principal: str
    ) -> web.StreamResponse:
        decisions = Trail()
        trail.set(decisions)

        def record(code: str) -> dict[str, object]:
            about = decisions.decisions[-1].key_id if decisions.decisions else ""
            return call_record(self._now_ms(), principal, method, about, "", decisions, code)

        try:
            self._admit()
            answer = await handler(request)
            await self._calls.record(record(_code(answer)))
        except QkmsError as error:
            told = UnavailableError(error.code, error.message, error.retry_after_s)
            return answered(unavailable(503, told), error.code)
        except asyncio.CancelledError:
            # The node stops: whatever was done is recorded all the same.
            self._calls.leave(record("CANCELLED"))
            raise
        return answer

    def _admit(self) -> None:
        """Raises QkmsError when the request would be refused its record, or when there are too many."""
        self._calls.require()
        if self._in_hand > self._at_once:
            raise QkmsError("OVERLOADED", f"{self._at_once} requests are in hand; ask again", retry_after_s=1.0)


def _code(answer: web.StreamResponse) -> str:
    return answer.get(CODE) or f"HTTP_{answer.status}"


def _principal(request: web.Request) -> str:
    try:
        return caller_principal(peer_certificate(request))
    except QkmsError:
        return NOBODY
