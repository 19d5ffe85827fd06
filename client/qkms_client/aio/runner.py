"""Performs flows with grpc.aio. Belongs to one event loop."""

import asyncio
import time
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

from qkms_client.aio.carrier import Carrier, NotServed
from qkms_client.base import ClientState
from qkms_client.credentials import Credentials
from qkms_client.errors import ClientClosed, QkmsError, Unavailable
from qkms_client.flow import Event, Flow, OpenStream, Pause, Receive, Send, Step
from qkms_client.profile import Profile
from qkms_client.status import error_of
from qkms_client.wire import OPTIONS

T = TypeVar("T")


class AsyncRunner(ClientState):
    """Channels to the nodes, made when first needed, and the loop that runs a flow."""

    def __init__(self, profile: Profile, *, revision: int = 0, streams: bool = True) -> None:
        super().__init__(profile, revision=revision)
        self._streams = streams
        self._credentials = Credentials(profile)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._carriers: dict[str, Carrier] = {}
        # Made with a certificate that has been renewed since: kept for the calls that they carry.
        self._retired: list[tuple[float, grpc.aio.Channel]] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._closed = False

    async def close(self) -> None:
        """Ends calls and watches in progress and closes all connections."""
        self._closed = True
        for carrier in self._carriers.values():
            carrier.close()
        channels = [*self._channels.values(), *(channel for _, channel in self._retired)]
        self._channels, self._retired = {}, []
        for channel in channels:
            await channel.close()

    async def _run(self, flow: Flow[T], stream: "AsyncStream | None" = None) -> T:
        event: Event | None = None
        while True:
            try:
                step = next(flow) if event is None else flow.send(event)
            except StopIteration as done:
                result: T = done.value
                return result
            event = await self._perform(step, stream)

    async def _perform(self, step: Step, stream: "AsyncStream | None") -> Event:
        if self._closed:
            raise ClientClosed("the client is closed")
        match step:
            case Pause(seconds):
                if seconds > 0:
                    await asyncio.sleep(seconds)
                return Event(time.monotonic())
            case Send():
                return await self._send(step)
            case OpenStream():
                assert stream is not None
                stream.open(self._channel(step.endpoint), step)
                return Event(time.monotonic())
            case Receive():
                assert stream is not None
                return await stream.receive()

    async def _send(self, step: Send) -> Event:
        carrier = self._carriers.setdefault(step.endpoint, Carrier(self._streams))
        streamed = carrier.wants(step)
        with carrier:
            if streamed:
                with suppress(NotServed):
                    return await carrier.send(self._channel(step.endpoint), step)
            return await self._send_alone(step)

    async def _send_alone(self, step: Send) -> Event:
        call = self._channel(step.endpoint).unary_unary(
            step.method.path,
            request_serializer=step.method.request.SerializeToString,
            response_deserializer=step.method.response.FromString,
        )
        try:
            response = await call(step.request, timeout=step.timeout)
        except grpc.aio.AioRpcError as error:
            return Event(time.monotonic(), error=_error(error))
        except asyncio.CancelledError:
            if self._closed:
                raise ClientClosed("the client was closed during the call") from None
            raise
        return Event(time.monotonic(), response=response)

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        self._renew(time.monotonic())
        if endpoint not in self._channels:
            self._channels[endpoint] = grpc.aio.secure_channel(
                self.profile.endpoints[endpoint], self._credentials.current, options=OPTIONS
            )
        return self._channels[endpoint]

    def _renew(self, now: float) -> None:
        if self._credentials.renewed(now):
            until = now + self.profile.timeout_s
            self._retired += [(until, channel) for channel in self._channels.values()]
            self._channels = {}
        while self._retired and self._retired[0][0] <= now:
            channel = self._retired.pop(0)[1]
            closing = asyncio.ensure_future(channel.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class AsyncStream:
    """The open stream of one watch."""

    def __init__(self) -> None:
        self._call: Any = None
        self._cancelled = False

    def open(self, channel: grpc.aio.Channel, step: OpenStream) -> None:
        """Begins the call, in place of the one before."""
        self._end()
        self._call = channel.unary_stream(
            step.method.path,
            request_serializer=step.method.request.SerializeToString,
            response_deserializer=step.method.response.FromString,
        )(step.request)

    async def receive(self) -> Event:
        """The next message, or why there is none."""
        if self._cancelled:
            raise ClientClosed("the watch is closed")
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            return Event(time.monotonic(), error=_error(error))
        except asyncio.CancelledError:
            if self._cancelled:
                raise ClientClosed("the watch is closed") from None
            raise
        if message is grpc.aio.EOF:
            return Event(time.monotonic(), error=Unavailable("the node ended the watch"))
        return Event(time.monotonic(), response=message)

    def cancel(self) -> None:
        """Ends the stream for good; a receive in progress returns."""
        self._cancelled = True
        self._end()

    def _end(self) -> None:
        if self._call is not None:
            self._call.cancel()


def _error(error: grpc.aio.AioRpcError) -> QkmsError:
    return error_of(error.code(), error.details(), error.trailing_metadata() or ())
