"""Readiness of the sockets between members: one selector, one thread, a wake-up.

Moves bytes for the connections that the mesh owns and tells it what arrived
or what was lost. Knows nothing of members. `poll` runs on the engine's
thread; `wake` may be called from any.
"""

import selectors
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from qkms_node.consensus.connection import Connection, ConnectionLost
from qkms_node.consensus.dialling import SocketAddress, split_address
from qkms_node.consensus.messages import Received

_KEEPALIVE_PROBES = 2


class Owner(Protocol):
    """Who the sockets work for. Called from within `Sockets.poll` only."""

    def accepted(self, sock: socket.socket) -> None: ...
    def arrived(self, connection: Connection, messages: list[Received]) -> None: ...
    def lost(self, connection: Connection, why: str) -> None: ...


class Sockets:
    """All sockets of one node."""

    def __init__(
        self, owner: Owner, max_frame: int, max_queue: int, idle_s: float, *, sealed_only: bool = False
    ) -> None:
        self._owner = owner
        self._max_frame = max_frame
        self._max_queue = max_queue
        self._idle_s = idle_s
        self._sealed_only = sealed_only
        self._unsent: set[Connection] = set()
        self._blocked: set[Connection] = set()  # watched until the socket takes more
        self._selector = selectors.DefaultSelector()
        self._waking = threading.Lock()
        self._awake = False
        self._waiting = False
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._woken)

    def wake(self) -> None:
        """Makes the current or the next `poll` return at once; from any thread."""
        with self._waking:
            if not self._awake:
                self._awake = True
                if self._waiting:
                    with suppress(OSError):  # closed: nothing polls any more
                        self._wake_in.send(b"\0")

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            self._wake_out.recv(16)

    def listen(self, address: str) -> int:
        """Listens on `host:port` and returns the port. Raises OSError."""
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=64)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # gone again, or no descriptor left: the next poll tries once more
        self._owner.accepted(sock)

    def connect(self, address: SocketAddress, context: ssl.SSLContext) -> Connection:
        """Begins to connect; a failure shows later as a loss. Raises OSError."""
        family, target = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(target)
        connection = self.adopt(sock, context, accepted=False)
        connection.start()
        self._watch(connection, writing=True)
        return connection

    def adopt(self, sock: socket.socket, context: ssl.SSLContext, *, accepted: bool) -> Connection:
        """Moves bytes for `sock` from now on."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._limit_silence(sock)
        connection = Connection(
            sock,
            context,
            accepted=accepted,
            max_frame=self._max_frame,
            max_queue=self._max_queue,
            sealed_only=self._sealed_only,
        )
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._ready(connection))
        return connection

    def _limit_silence(self, sock: socket.socket) -> None:
        # A peer that vanished without a word is noticed though nothing is sent to it.
        interval = max(1, round(self._idle_s / (1 + _KEEPALIVE_PROBES)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._idle_s * 1000))

    def queue(self, connection: Connection, messages: Sequence[Received]) -> None:
        """Sends in order, at the next `flush`. Raises ConnectionLost when too much waits."""
        for message in messages:
            connection.queue(message)
        self._unsent.add(connection)

    def flush(self) -> None:
        """Offers what is queued to the sockets."""
        if self._unsent:
            unsent, self._unsent = self._unsent, set()
            for connection in unsent:
                self._write(connection)

    def poll(self, timeout_s: float) -> None:
        """Waits up to `timeout_s` for something to happen and tells the owner."""
        with self._waking:
            self._waiting = not self._awake
        ready = self._selector.select(timeout_s if self._waiting else 0)
        with self._waking:
            self._waiting = self._awake = False
        for key, _ in ready:
            key.data()

    def _ready(self, connection: Connection) -> None:
        if connection.wants_write:
            self._write(connection)
        if connection.closed:
            return
        try:
            messages = connection.on_readable()
        except ConnectionLost as problem:
            self._owner.lost(connection, str(problem))
            return
        self._owner.arrived(connection, messages)
        if connection.wants_write:
            self._write(connection)

    def _write(self, connection: Connection) -> None:
        if connection.closed:
            return
        try:
            connection.on_writable()
        except ConnectionLost as problem:
            self._owner.lost(connection, str(problem))
            return
        writing = connection.wants_write
        if writing != (connection in self._blocked):
            self._watch(connection, writing=writing)

    def _watch(self, connection: Connection, *, writing: bool) -> None:
        (self._blocked.add if writing else self._blocked.discard)(connection)
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        key = self._selector.get_key(connection.sock)
        self._selector.modify(connection.sock, wanted, key.data)

    def drop(self, connection: Connection) -> None:
        """Closes one connection at once; nothing of it is delivered any more."""
        if not connection.closed:
            self._unsent.discard(connection)
            self._blocked.discard(connection)
            self._selector.unregister(connection.sock)
            connection.close()

    def close(self) -> None:
        """Closes everything, the listener included."""
        for key in list(self._selector.get_map().values()):
            sock = key.fileobj
            self._selector.unregister(sock)
            if isinstance(sock, socket.socket):
                sock.close()
        self._wake_in.close()
        self._selector.close()
