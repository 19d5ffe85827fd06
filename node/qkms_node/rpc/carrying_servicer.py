"""CryptoService with Batch and Stream: many calls in one message, or over one stream.

Every call carried takes the path of its unary twin: identity, policy, errors,
counts, log. Concurrency is bounded per batch (by its size), per stream, and for all that a
node carries. A stream is read only while it has a place free, so that a caller
who sends faster than the node answers is held up by HTTP/2 flow control, and
what waits in the node's memory is bounded. Answers leave in no order.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from qkms.carrying import BY_FIELD, MAX_BATCH_CALLS, SERVICE
from qkms.v1 import crypto_pb2 as pb
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.rpc.crypto_servicer import Context, CryptoServicer
from qkms_node.rpc.errors import status_message
from qkms_node.rpc.header import Headers
from qkms_node.service.crypto import Crypto
from qkms_node.service.encapsulating import Encapsulating
from qkms_node.service.freshness import STALE_OK
from qkms_node.service.signing import Signing

MAX_STREAM_CALLS = 64
"""Calls of one stream that are served at a time."""

MAX_ANSWER_BYTES = 3 * 1024 * 1024
"""Of answers in one BatchResponse: gRPC clients take messages of 4 MiB unless told otherwise."""

DEFAULT_TIMEOUT_MS = 60_000

Serve = Callable[[str, Any, Any, Callable[[Any, Any], Any]], Awaitable[Any]]
"""Serves one call: path, request, context, servicer method. Raises QkmsError."""


class CarryingServicer(CryptoServicer):
    """Serves qkms.v1.CryptoService. `max_carried`: calls in batches and streams that are served at a time."""

    def __init__(
        self,
        crypto: Crypto,
        signing: Signing,
        encapsulating: Encapsulating,
        headers: Headers,
        serve: Serve,
        max_carried: int,
    ) -> None:
        super().__init__(crypto, signing, encapsulating, headers)
        self._serve = serve
        self._places = asyncio.Semaphore(max_carried)
        self._reading: set[asyncio.Future[None]] = set()
        self._closing = False

    def close(self) -> None:
        """Streams read no more, answer what they have read, and end with SHUTTING_DOWN."""
        self._closing = True
        for reading in self._reading:
            reading.cancel()

    async def Batch(self, request: pb.BatchRequest, context: Context) -> pb.BatchResponse:
        count = len(request.calls)
        if not 1 <= count <= MAX_BATCH_CALLS:
            raise InvalidField("calls", f"are {count}; a batch has 1 to {MAX_BATCH_CALLS}")
        tasks = []
        async with asyncio.TaskGroup() as group:
            for call in request.calls:
                tasks.append(group.create_task(self._answer(call, request.timeout_ms, "Batch", context)))
                # Signing holds the event loop: other callers get their turn between any two calls.
                await asyncio.sleep(0)
        answers = _fitting([task.result() for task in tasks])
        return pb.BatchResponse(header=self._headers.make(STALE_OK), answers=answers)

    async def Stream(  # type: ignore[override]  # written to the context, which the generated type does not know
        self, request_iterator: AsyncIterator[pb.StreamRequest], context: Context
    ) -> None:
        free, writing = asyncio.Semaphore(MAX_STREAM_CALLS), asyncio.Lock()

        async def answer(request: pb.StreamRequest) -> None:
            try:
                given = await self._answer(request.call, request.timeout_ms, "Stream", context)
                # The place is free again when the answer has left: one who does not read answers is not read.
                async with writing:
                    await context.write(pb.StreamResponse(id=request.id, answer=given))
            finally:
                free.release()

        async def read(group: asyncio.TaskGroup) -> None:
            async for request in request_iterator:
                group.create_task(answer(request))
                await free.acquire()

        await free.acquire()
        async with asyncio.TaskGroup() as group:
            await self._until_closing(asyncio.ensure_future(read(group)))
        if self._closing:
            raise QkmsError("SHUTTING_DOWN", "this node is stopping; carry on at another node", 0.1)

    async def _until_closing(self, reading: asyncio.Future[None]) -> None:
        self._reading.add(reading)
        try:
            if not self._closing:
                await reading
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if not self._closing or (this is not None and this.cancelling()):
                raise
        finally:
            reading.cancel()
            self._reading.discard(reading)

    async def _answer(
        self, call: pb.CryptoCall, timeout_ms: int, carrier: str, context: Context
    ) -> pb.CryptoAnswer:
        """The call's answer or status, given as its own RPC would be."""
        field = call.WhichOneof("call")
        async with self._places:
            try:
                if field is None:
                    await self._serve(f"/{SERVICE}/{carrier}", call, context, _nothing)
                    raise AssertionError("a call that names no method was served")
                carried = BY_FIELD[field]
                inner = _within(timeout_ms or DEFAULT_TIMEOUT_MS, getattr(self, carried.method))
                return carried.answer(await self._serve(carried.path, getattr(call, field), context, inner))
            except QkmsError as error:
                return pb.CryptoAnswer(status=status_message(error))


async def _nothing(call: pb.CryptoCall, context: Context) -> None:
    raise InvalidField("call", "is needed: the request of one method that this node knows")


def _within(timeout_ms: int, inner: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def limited(request: Any, context: Context) -> Any:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await inner(request, context)
        except TimeoutError:
            raise QkmsError(
                "DEADLINE_EXCEEDED", f"no answer within {timeout_ms} ms; allow more time, or try another node"
            ) from None

    return limited


def _fitting(answers: list[pb.CryptoAnswer]) -> list[pb.CryptoAnswer]:
    """The answers in their order; those that the message has no room for are statuses instead."""
    room, fitting = MAX_ANSWER_BYTES, []
    for answer in answers:
        size = answer.ByteSize()
        if size > room:
            full = QkmsError(
                "BATCH_FULL",
                f"answers before this one have most of the {MAX_ANSWER_BYTES} bytes; ask for it in another batch",
            )
            answer = pb.CryptoAnswer(status=status_message(full))
            size = 0
        room -= size
        fitting.append(answer)
    return fitting
