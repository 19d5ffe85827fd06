"""One connection to a member: TLS over a non-blocking socket, frames in and out, sealed when there is a key.

Never blocks and runs no thread: the owner calls `on_readable` and
`on_writable` when the socket is ready, and `wants_write` says whether to ask
for that. Frames wait here while the peer is slow, up to a bound, over which
the connection is given up: a queue that silently loses its middle would break
the order that the engine relies on. Who the peer is, is decided by the owner.
"""

import socket
import ssl
from collections import deque

from qkms.errors import InvalidInput
from qkms_node.consensus.frames import RECORD_BYTES, FrameReader, FrameRejected, frame
from qkms_node.consensus.messages import Received
from qkms_node.consensus.sealed_frames import Opening, Sealing

READ_BYTES = 256 * 1024


class ConnectionLost(Exception):
    """The connection cannot go on; the message says why."""

    code = "CONNECTION_LOST"


class Connection:
    """`established` once the TLS handshake is over; `peer` is set by the owner when it knows.

    `sealed_only`: see FrameReader.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        accepted: bool,
        max_frame: int,
        max_queue: int,
        sealed_only: bool = False,
    ) -> None:
        self.sock = sock
        self.accepted = accepted
        self.peer: str | None = None
        self.established = False
        self.closed = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=accepted)
        self.sealing, self.opening = Sealing(), Opening()
        self._reader = FrameReader(max_frame, self.opening.opened, sealed_only=sealed_only)
        self._max_queue = max_queue
        self._frames: deque[bytes] = deque()
        self._frames_bytes = 0
        self._sealed = memoryview(b"")

    @property
    def wants_write(self) -> bool:
        """Whether something waits for the socket to take it."""
        return bool(self._sealed) or self._outgoing.pending > 0 or (self.established and bool(self._frames))

    def queue(self, message: Received) -> None:
        """Adds a message; `on_writable` sends it. Raises ConnectionLost over the bound."""
        data = frame(message)
        self._frames.append(data)
        self._frames_bytes += len(data)
        if self._frames_bytes + len(self._sealed) > self._max_queue:
            raise ConnectionLost(f"over {self._max_queue} bytes wait for the peer, it is too slow")

    def on_readable(self) -> list[Received]:
        """Takes what has arrived and returns the messages completed. Raises ConnectionLost."""
        try:
            data = self.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise ConnectionLost(f"receiving failed: {error.strerror}") from error
        if not data:
            raise ConnectionLost("closed by the peer")
        self._incoming.write(data)
        if not self.established and not self._handshake():
            return []
        return self._read_messages()

    def start(self) -> None:
        """Begins the handshake. Raises ConnectionLost."""
        self._handshake()

    def _handshake(self) -> bool:
        try:
            self.tls.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._send_alert()
            raise ConnectionLost(f"TLS handshake failed: {error.reason}") from error
        return True

    def _send_alert(self) -> None:
        # So that the other side can log why; what does not fit at once is not worth waiting for.
        try:
            self.sock.send(self._outgoing.read())
        except OSError:
            return

    def _read_messages(self) -> list[Received]:
        messages: list[Received] = []
        try:
            while self._incoming.pending or self.tls.pending():
                plain = self.tls.read(READ_BYTES)
                if not plain:
                    raise ConnectionLost("closed by the peer")
                messages += self._reader.feed(plain)
        except ssl.SSLWantReadError:
            return messages
        except ssl.SSLError as error:
            raise ConnectionLost(f"TLS failed: {error.reason}") from error
        except FrameRejected as error:
            raise ConnectionLost(str(error)) from error
        return messages

    def on_writable(self) -> None:
        """Sends as much as the socket takes. Raises ConnectionLost."""
        try:
            while self._seal():
                sent = self.sock.send(self._sealed)
                self._sealed = self._sealed[sent:]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise ConnectionLost(f"sending failed: {error.strerror}") from error

    def _seal(self) -> bool:
        """Makes sure that sealed bytes are at hand, if there is anything to send."""
        if self._sealed:
            return True
        if self.established and self._frames:
            plain: list[bytes] = []
            size = 0
            while self._frames and size < RECORD_BYTES:
                plain.append(self._frames.popleft())
                size += len(plain[-1])
            self._frames_bytes -= size
            try:
                self.tls.write(self.sealing.sealed(b"".join(plain)))
            except InvalidInput as error:
                raise ConnectionLost(str(error)) from error
        self._sealed = memoryview(self._outgoing.read())
        return bool(self._sealed)

    def close(self) -> None:
        """Closes the socket at once."""
        self.closed = True
        self.sock.close()
