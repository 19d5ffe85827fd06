"""A TCP relay that records both directions, and what a TLS handshake in a recording agreed on.

Reads the key exchange group from the ServerHello, the one place where it is in
clear (RFC 8446 sections 4.1.3 and 4.2.8). Decrypts nothing, alters nothing.
"""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

# IANA TLS supported groups.
X25519MLKEM768 = 0x11EC
X25519 = 0x001D

_HANDSHAKE_RECORD = 22
_SERVER_HELLO = 2
_KEY_SHARE = 51
_CHUNK_BYTES = 65536


@dataclass
class Recording:
    """The bytes of one connection, by direction."""

    from_client: bytearray = field(default_factory=bytearray)
    from_server: bytearray = field(default_factory=bytearray)


class Wiretap:
    """Listens on a free loopback port and relays to `target` (host, port) until it is left.

    Deafened, it still carries what clients say and nothing that the target answers.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._deaf = threading.Event()
        self.recordings: list[Recording] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Wiretap":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def deafen(self) -> None:
        """From now on every answer is lost on its way."""
        self._deaf.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                recording = Recording()
                self.recordings.append(recording)
                for source, sink, tape, dropped in (
                    (client, server, recording.from_client, threading.Event()),
                    (server, client, recording.from_server, self._deaf),
                ):
                    threading.Thread(target=_relay, args=(source, sink, tape, dropped), daemon=True).start()


def _relay(source: socket.socket, sink: socket.socket, tape: bytearray, dropped: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            tape += data
            if not dropped.is_set():
                sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def negotiated_group(from_server: bytes | bytearray) -> int:
    """The group of the ServerHello's key share (after a HelloRetryRequest, of the second one).

    Raises ValueError when there is none, as in TLS 1.2 or in what is not TLS.
    """
    groups = [
        int.from_bytes(body[:2], "big")
        for kind, message in _handshake_messages(bytes(from_server))
        if kind == _SERVER_HELLO
        for extension, body in _server_hello_extensions(message)
        if extension == _KEY_SHARE
    ]
    if not groups:
        raise ValueError("the recording has no TLS 1.3 ServerHello with a key share")
    return groups[-1]


def _handshake_messages(stream: bytes) -> list[tuple[int, bytes]]:
    plain = bytearray()
    while len(stream) >= 5:
        length = int.from_bytes(stream[3:5], "big")
        if stream[0] == _HANDSHAKE_RECORD:
            plain += stream[5 : 5 + length]
        stream = stream[5 + length :]
    messages = []
    while len(plain) >= 4:
        length = int.from_bytes(plain[1:4], "big")
        messages.append((plain[0], bytes(plain[4 : 4 + length])))
        del plain[: 4 + length]
    return messages


def _server_hello_extensions(message: bytes) -> list[tuple[int, bytes]]:
    # legacy_version 2, random 32, session id 1 + n, cipher suite 2, compression 1, extensions length 2.
    if len(message) < 35:
        return []
    rest = message[34 + 1 + message[34] + 2 + 1 + 2 :]
    extensions = []
    while len(rest) >= 4:
        length = int.from_bytes(rest[2:4], "big")
        extensions.append((int.from_bytes(rest[:2], "big"), rest[4 : 4 + length]))
        rest = rest[4 + length :]
    return extensions
