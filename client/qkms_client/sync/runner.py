"""Performs flows with blocking gRPC. Safe for use by several threads."""

import threading
import time
from typing import Any, TypeVar

import grpc

from qkms_client.base import ClientState
from qkms_client.credentials import Credentials
from qkms_client.errors import ClientClosed, QkmsError, Unavailable
from qkms_client.flow import Event, Flow, OpenStream, Pause, Receive, Send, Step
from qkms_client.profile import Profile
from qkms_client.status import error_of
from qkms_client.wire import OPTIONS

T = TypeVar("T")


class Runner(ClientState):
    """Channels to the nodes, made when first needed, and the loop that runs a flow."""

    def __init__(self, profile: Profile, *, revision: int = 0) -> None:
        super().__init__(profile, revision=revision)
        self._credentials = Credentials(profile)
        self._channels: dict[str, grpc.Channel] = {}
        # Made with a certificate that has been renewed since: kept for the calls that they carry.
        self._retired: list[tuple[float, grpc.Channel]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends calls and watches in progress and closes all connections."""
        self._closed.set()
        with self._lock:
            channels = [*self._channels.values(), *(channel for _, channel in self._retired)]
            self._channels, self._retired = {}, []
        for channel in channels:
            channel.close()

    def _run(self, flow: Flow[T], stream: "Stream | None" = None) -> T:
        event: Event | None = None
        while True:
            try:
                # Flows share the router and the token; between two steps they do no IO.
                with self._lock:
                    step = next(flow) if event is None else flow.send(event)
            except StopIteration as done:
                result: T = done.value
                return result
            event = self._perform(step, stream)

    def _perform(self, step: Step, stream: "Stream | None") -> Event:
        if self._closed.is_set():
            raise ClientClosed("the client is closed")
        match step:
            case Pause(seconds):
                if seconds > 0 and self._closed.wait(seconds):
                    raise ClientClosed("the client was closed during the call")
                return Event(time.monotonic())
            case Send():
                return self._send(step)
            case OpenStream():
                assert stream is not None
                stream.open(self._channel(step.endpoint), step)
                return Event(time.monotonic())
            case Receive():
                assert stream is not None
                return stream.receive()

    def _send(self, step: Send) -> Event:
        call = self._channel(step.endpoint).unary_unary(
            step.method.path,
            request_serializer=step.method.request.SerializeToString,
            response_deserializer=step.method.response.FromString,
        )
        try:
            response = call(step.request, timeout=step.timeout)
        except grpc.RpcError as error:
            return Event(time.monotonic(), error=_error(error))
        except ValueError:
            if self._closed.is_set():
                raise ClientClosed("the client was closed during the call") from None
            raise
        return Event(time.monotonic(), response=response)

    def _channel(self, endpoint: str) -> grpc.Channel:
        with self._lock:
            if self._closed.is_set():
                raise ClientClosed("the client is closed")
            self._renew(time.monotonic())
            if endpoint not in self._channels:
                self._channels[endpoint] = grpc.secure_channel(
                    self.profile.endpoints[endpoint], self._credentials.current, options=OPTIONS
                )
            return self._channels[endpoint]

    def _renew(self, now: float) -> None:
        if self._credentials.renewed(now):
            until = now + self.profile.timeout_s
            self._retired += [(until, channel) for channel in self._channels.values()]
            self._channels = {}
        while self._retired and self._retired[0][0] <= now:
            self._retired.pop(0)[1].close()


class Stream:
    """The open stream of one watch."""

    def __init__(self) -> None:
        self._call: Any = None
        self._cancelled = False

    def open(self, channel: grpc.Channel, step: OpenStream) -> None:
        """Begins the call, in place of the one before."""
        self._end()
        self._call = channel.unary_stream(
            step.method.path,
            request_serializer=step.method.request.SerializeToString,
            response_deserializer=step.method.response.FromString,
        )(step.request)

    def receive(self) -> Event:
        """The next message, or why there is none."""
        if self._cancelled:
            raise ClientClosed("the watch is closed")
        try:
            return Event(time.monotonic(), response=next(self._call))
        except StopIteration:
            return Event(time.monotonic(), error=Unavailable("the node ended the watch"))
        except grpc.RpcError as error:
            if self._cancelled:
                raise ClientClosed("the watch is closed") from None
            return Event(time.monotonic(), error=_error(error))

    def cancel(self) -> None:
        """Ends the stream for good; a receive in progress returns."""
        self._cancelled = True
        self._end()

    def _end(self) -> None:
        if self._call is not None:
            self._call.cancel()


def _error(error: Any) -> QkmsError:
    # What gRPC raises for a failed call is a grpc.Call too; its type does not say so.
    return error_of(error.code(), error.details(), error.trailing_metadata() or ())
