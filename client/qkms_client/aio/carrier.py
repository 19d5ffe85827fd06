"""Streams of an AsyncClient: when many calls of CryptoService are under way, they share one.

A call over a stream ends in the same event as an RPC of its own, so that what
is retried, where, and with which result does not change. When a stream breaks,
each call on it ends with the error that broke it. Reads and writes of a stream
have tasks of their own: gRPC ends a stream when either is cancelled, and the
caller of one call may give it up at any time.
"""

import asyncio
import time
from itertools import count
from typing import Any

import grpc
import grpc.aio

from qkms.carrying import BY_PATH, MAX_BATCH_BYTES, SERVICE, Carried
from qkms.v1 import crypto_pb2 as pb
from qkms_client.carried import event_of
from qkms_client.errors import DeadlineExceeded, Unavailable
from qkms_client.flow import Event, Send
from qkms_client.status import error_of

MANY = 8
"""Calls under way at one node beyond which further ones go over a stream."""

STREAM_CALLS = 64
"""Calls on one stream beyond which another is opened: what a node serves of one at a time."""

MAX_STREAMS = 4

IDLE_S = 10.0
"""After so long without a call a stream is ended."""


class NotServed(Exception):
    """The node does not know streams; nothing was sent to it."""


class Carrier:
    """The streams to one node; with `allowed` False there never are any."""

    def __init__(self, allowed: bool) -> None:
        self._streams: list[_Stream] = []
        self._under_way = 0
        self._served = allowed

    def wants(self, step: Send) -> bool:
        """Whether this step should go over a stream."""
        return (
            self._served
            and self._under_way >= MANY
            and step.method.path in BY_PATH
            and step.request.ByteSize() <= MAX_BATCH_BYTES
        )

    def __enter__(self) -> None:
        self._under_way += 1

    def __exit__(self, *_: object) -> None:
        self._under_way -= 1

    async def send(self, channel: grpc.aio.Channel, step: Send) -> Event:
        """Makes the call over a stream of `channel`. Raises NotServed."""
        try:
            return await self._stream(channel).ask(BY_PATH[step.method.path], step)
        except NotServed:
            self._served = False
            raise

    def close(self) -> None:
        """Ends the streams, and the calls on them."""
        for stream in self._streams:
            stream.close()

    def _stream(self, channel: grpc.aio.Channel) -> "_Stream":
        # One of another channel, or that has ended, takes no more calls; those on it go on.
        self._streams = [s for s in self._streams if s.open and s.channel is channel]
        least = min(self._streams, key=lambda s: s.calls, default=None)
        if least is None or (least.calls >= STREAM_CALLS and len(self._streams) < MAX_STREAMS):
            least = _Stream(channel)
            self._streams.append(least)
        return least


class _Stream:
    """One stream and the calls on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.open = True
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Event]] = {}
        self._outgoing: asyncio.Queue[pb.StreamRequest | None] = asyncio.Queue()
        self._call: Any = channel.stream_stream(
            f"/{SERVICE}/Stream",
            request_serializer=pb.StreamRequest.SerializeToString,
            response_deserializer=pb.StreamResponse.FromString,
        )()
        self._idle: asyncio.TimerHandle | None = None
        self._tasks = [asyncio.create_task(work) for work in (self._write(), self._read())]

    @property
    def calls(self) -> int:
        """How many are under way."""
        return len(self._waiting)

    async def ask(self, carried: Carried, step: Send) -> Event:
        """Sends one call and waits for its answer. Raises NotServed."""
        number = next(self._ids)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Event] = loop.create_future()
        self._waiting[number] = answer
        if self._idle is not None:
            self._idle.cancel()
        timeout_ms = max(1, int(step.timeout * 1000))
        self._outgoing.put_nowait(
            pb.StreamRequest(id=number, call=carried.call(step.request), timeout_ms=timeout_ms)
        )
        try:
            async with asyncio.timeout(step.timeout):
                return await answer
        except TimeoutError:
            return Event(time.monotonic(), error=DeadlineExceeded("no answer in time"))
        finally:
            self._waiting.pop(number, None)
            if not self._waiting:
                self._idle = loop.call_later(IDLE_S, self._end_if_idle)

    def close(self) -> None:
        """Ends the stream at once, and the calls on it."""
        self._call.cancel()
        self._ended(None)

    async def _write(self) -> None:
        while True:
            request = await self._outgoing.get()
            try:
                if request is None:
                    await self._call.done_writing()
                    return
                # Whoever gave up before its turn is not sent.
                if request.id in self._waiting:
                    await self._call.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reader learns why.
                return

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                waiting = self._waiting.get(message.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(event_of(message.answer, time.monotonic()))
        except grpc.aio.AioRpcError as error:
            self._ended(error)
        finally:
            self._ended(None)

    def _ended(self, error: grpc.aio.AioRpcError | None) -> None:
        self.open = False
        if self._idle is not None:
            self._idle.cancel()
        for waiting in self._waiting.values():
            if not waiting.done():
                _break(waiting, error)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _end_if_idle(self) -> None:
        if not self._waiting and self.open:
            self.open = False
            self._outgoing.put_nowait(None)


def _break(waiting: "asyncio.Future[Event]", error: grpc.aio.AioRpcError | None) -> None:
    now = time.monotonic()
    if error is None:
        waiting.set_result(Event(now, error=Unavailable("the stream was ended")))
    elif error.code() is grpc.StatusCode.UNIMPLEMENTED:
        waiting.set_exception(NotServed())
    else:
        failure = error_of(error.code(), error.details(), error.trailing_metadata() or ())
        waiting.set_result(Event(now, error=failure))
