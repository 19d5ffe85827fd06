"""What goes over a TCP connection is in the files of a capture, and nothing of other ports is."""

import os
import secrets
import socket
import struct
import threading
from pathlib import Path

import pytest

from qkms_chaos.capture import Capture, CaptureNotAllowedError, Segment, tcp_segment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="reading packets needs root")


class Echo:
    """A server that sends back what it is told, on a free port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection:
            while data := connection.recv(65_536):
                connection.sendall(data)

    def ask(self, data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(data)
            while data:
                data = data[len(client.recv(65_536)) :]


def test_both_directions_of_a_connection_are_kept_whole_and_once(tmp_path: Path) -> None:
    seen, unseen, said = Echo(), Echo(), secrets.token_bytes(300_000)
    with Capture([seen.port], tmp_path) as capture:
        seen.ask(said)
        unseen.ask(b"not this" * 100)
    files = sorted(tmp_path.iterdir())
    assert [path.read_bytes() for path in files] == [said, said], [path.name for path in files]
    assert (capture.octets, capture.dropped) == (2 * len(said), 0)
    assert all(str(seen.port) in path.name for path in files)


def test_who_may_not_read_packets_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refused)
    with pytest.raises(CaptureNotAllowedError, match="CAP_NET_RAW"), Capture([1], tmp_path):
        pass


def packet(payload: bytes, *, protocol: int = socket.IPPROTO_TCP, version: int = 4, options: bytes = b"") -> bytes:
    tcp = (
        struct.pack("!HHIIBBHHH", 4711, 9201, 0, 0, (20 + len(options)) // 4 << 4, 0, 0, 0, 0) + options + payload
    )
    addresses = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
    return struct.pack("!BBHHHBBH", version << 4 | 5, 0, 20 + len(tcp), 0, 0, 64, protocol, 0) + addresses + tcp


def test_a_segment_is_read_from_its_packet() -> None:
    whole = packet(b"payload", options=bytes(12))
    assert tcp_segment(whole + b"padding") == Segment("10.0.0.1:4711", "10.0.0.2:9201", b"payload")


@pytest.mark.parametrize(
    "other",
    [b"", packet(b"x")[:19], packet(b"x")[:39], packet(b"x", protocol=17), packet(b"x", version=6)],
    ids=["empty", "no IP header", "no TCP header", "UDP", "IPv6"],
)
def test_what_is_no_tcp_segment_is_none(other: bytes) -> None:
    assert tcp_segment(other) is None
