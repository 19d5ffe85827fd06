"""What stands around every call: who asks, what it cost, what went wrong, and its audit record.

The interceptor names the caller from its certificate, turns every QkmsError
into its status, hides every other exception behind an incident number, and
counts, times, traces and logs each call, one line with its trace and request
id. It reads the identity first: no servicer ever runs without a principal.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog

from qkms_node.access.identity import principal as principal_of
from qkms_node.access.trail import Trail, trail
from qkms_node.errors import QkmsError
from qkms_node.rpc.call_audit import CallAudit
from qkms_node.rpc.errors import DETAILS_KEY, rich_status, status_code
from qkms_node.service.freshness import Level
from qkms_node.telemetry.metrics import Metrics
from qkms_node.telemetry.traces import NoSpans, Spans

log = structlog.get_logger(__name__)

caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller")
"""The principal of the call in hand."""

ANONYMOUS = "anonymous"
"""The caller at the enrolment listener, which asks for no certificate."""

# No principal needed: liveness and the description of the API.
OPEN_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.")

Handler = Callable[[Any, Any], Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Identity, errors, the audit record and the call log, around every method."""

    def __init__(
        self,
        hint: Callable[[QkmsError], dict[str, str]],
        metrics: Metrics,
        spans: Spans,
        audit: CallAudit,
        *,
        anonymous: bool = False,
    ) -> None:
        self._hint = hint
        self._anonymous = anonymous
        self._metrics = metrics
        self._spans = spans
        self._no_spans = NoSpans()
        self._audit = audit

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the method's handler."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(OPEN_PREFIXES):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._bidirectional(method, handler.stream_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        assert handler.unary_stream is not None
        return grpc.unary_stream_rpc_method_handler(
            self._stream(method, handler.unary_stream),
            request_deserializer=handler.request_deserializer,
            response_serializer=_unless_serialized(handler.response_serializer),
        )

    async def serve(
        self, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any], inner: Handler
    ) -> Any:
        """One call with one answer: an RPC, or carried by Batch or Stream. Raises QkmsError, nothing else."""
        with self._begin(method, request, context, self._spans) as call:
            try:
                call.identify(context)
                response = await inner(request, context)
                await call.answered("OK")
            except QkmsError as error:
                raise await self._refused(call, error) from None
            except Exception as error:
                raise await self._refused(call, call.incident(error)) from None
            except asyncio.CancelledError:
                call.cancelled()
                raise
            call.end("OK", _consistency(response))
            return response

    def _unary(self, method: str, inner: Handler) -> Handler:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await self.serve(method, request, context, inner)
            except QkmsError as error:
                await _abort(context, error)

        return handle

    def _bidirectional(self, method: str, inner: Handler) -> Handler:
        async def handle(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            with self._begin(method, None, context, self._no_spans) as call:
                try:
                    call.identify(context)
                    await call.answered("STREAMING")
                    await inner(requests, context)
                    await call.answered("OK")
                except QkmsError as error:
                    await _abort(context, await self._refused(call, error))
                except Exception as error:
                    await _abort(context, await self._refused(call, call.incident(error)))
                except asyncio.CancelledError:
                    call.cancelled()
                    raise
                else:
                    call.end("OK")

        return handle

    def _stream(self, method: str, inner: Handler) -> Handler:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            # A stream may live for days: it is no span.
            with self._begin(method, request, context, self._no_spans) as call:
                begun = False
                try:
                    call.identify(context)
                    async for response in inner(request, context):
                        if not begun:
                            # A stream has two records: before its first answer leaves, and at its end.
                            await call.answered("STREAMING")
                            begun = True
                        yield response
                    await call.answered("OK")
                except QkmsError as error:
                    await _abort(context, await self._refused(call, error))
                except Exception as error:
                    await _abort(context, await self._refused(call, call.incident(error)))
                except (asyncio.CancelledError, GeneratorExit):
                    call.cancelled()
                    raise
                else:
                    call.end("OK")

        return handle

    @contextmanager
    def _begin(
        self, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any], spans: Spans
    ) -> Iterator[_Call]:
        name = method.removeprefix("/qkms.v1.")
        sent = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        ids = {"request_id": request.request_id} if getattr(request, "request_id", "") else {}
        with (
            spans.call(name, sent.get("traceparent")) as trace_id,
            structlog.contextvars.bound_contextvars(trace_id=trace_id, **ids),
            self._metrics.calls_in_flight.track_inprogress(),
        ):
            yield _Call(name, request, self._metrics, self._audit, self._anonymous)

    async def _refused(self, call: _Call, error: QkmsError) -> QkmsError:
        """The error that the caller gets, when the audit has it."""
        try:
            await call.answered(error.code)
        except QkmsError as unaudited:
            error = unaudited
        error.metadata |= self._hint(error)
        call.end(error.code)
        return error


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: QkmsError) -> None:
    await context.abort(status_code(error), error.message, trailing_metadata=((DETAILS_KEY, rich_status(error)),))


class _Call:
    """One call: its log line, its counts and its audit record."""

    def __init__(self, method: str, request: Any, metrics: Metrics, audit: CallAudit, anonymous: bool) -> None:
        self._method = method
        self._request = request
        self._anonymous = anonymous
        self._metrics = metrics
        self._audit = audit
        self._trail = Trail()
        self._principal = ""
        self._start = time.perf_counter()

    def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Names the caller; raises QkmsError when there is none, or when the audit admits no call."""
        self._principal = ANONYMOUS if self._anonymous else principal_of(context.auth_context())
        caller.set(self._principal)
        trail.set(self._trail)
        self._audit.admit(self._method)

    async def answered(self, code: str) -> None:
        """Returns when the audit has the call's outcome. Raises QkmsError."""
        await self._audit.answered(self._method, self._principal, self._request, self._trail, code)

    def cancelled(self) -> None:
        """The caller has gone: whatever was done is recorded all the same."""
        self._audit.ended(self._method, self._principal, self._request, self._trail, "CANCELLED")

    def incident(self, error: Exception) -> QkmsError:
        """A fault of the program: its kind and place go to the log, only a number to the caller."""
        number = uuid.uuid4().hex[:12]
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
        # Neither the exception's text nor a traceback with values: they might hold a secret.
        log.error("rpc.incident", incident=number, method=self._method, kind=type(error).__name__, where=where)
        return QkmsError(
            "INTERNAL",
            f"the node failed inside; incident {number} is in its log",
            incident=number,
        )

    def end(self, code: str, consistency: str = "none") -> None:
        seconds = time.perf_counter() - self._start
        self._metrics.call_ended(self._method, code, consistency, seconds)
        log.info(
            "rpc.call", method=self._method, principal=self._principal, code=code, ms=round(seconds * 1000, 2)
        )


def _unless_serialized(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    assert serialize is not None
    return lambda response: response if isinstance(response, bytes) else serialize(response)


def _consistency(response: Any) -> str:
    """The level that an answer says it satisfies."""
    header = getattr(response, "header", None)
    return Level(header.consistency).name if header is not None and header.consistency else "none"
