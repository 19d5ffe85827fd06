"""What goes over TCP between members, as on the wire, into files: one for each direction of a connection.

Reads packets of IPv4 from every interface of this host (AF_PACKET, packet(7)), which is where both backends carry
the traffic of members: the loopback with Toxiproxy, the cables of the bridge in namespaces (which take packets off
before anyone who asks for a protocol sees them, so all are asked for). Needs CAP_NET_RAW.
Files hold payloads in order of arrival; what the kernel dropped is counted, not found again. Leaves out IPv6, and
putting segments back in order: on one host they come so.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from math import inf
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

_ETH_P_ALL, _ETH_P_IP = 0x0003, 0x0800
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("II")
_BUFFER_BYTES = 16 * 1024 * 1024
_LONGEST = 65_536
_LOOK_UP_S = 0.1
_CATCHES_UP_S = 1.0
"""How long packets of before the end are still read, when packets never cease."""


class CaptureNotAllowedError(Exception):
    """This process may not read packets; the message says what it takes."""


class Segment(NamedTuple):
    """The payload of one TCP segment, and from where to where: `10.0.0.1:9201`."""

    source: str
    target: str
    payload: bytes


class Capture:
    """While entered, what is sent to or from one of `ports` is written into `folder`.

    `octets`: payload bytes so far; `dropped`: packets that came faster than they were read. Raises
    CaptureNotAllowedError on entering.
    """

    def __init__(self, ports: Iterable[int], folder: Path) -> None:
        self._ports = {str(port) for port in ports}
        self._folder = folder
        self._ends = inf
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._files: dict[tuple[str, str, str], BinaryIO] = {}
        self.octets = 0
        self.dropped = 0

    def __enter__(self) -> "Capture":
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        except PermissionError as error:
            raise CaptureNotAllowedError("reading packets needs root, or CAP_NET_RAW") from error
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.settimeout(_LOOK_UP_S)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = time.monotonic() + _CATCHES_UP_S
        self._thread.join()
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        _, self.dropped = _STATISTICS.unpack(statistics)
        self._socket.close()

    def _read(self) -> None:
        with ExitStack() as stack:
            while time.monotonic() < self._ends:
                try:
                    packet, (interface, protocol, direction, *_) = self._socket.recvfrom(_LONGEST)
                except TimeoutError:
                    if self._ends < inf:
                        return
                    continue
                # The loopback shows each packet twice, on its way out and in.
                if protocol != _ETH_P_IP or direction == socket.PACKET_OUTGOING:
                    continue
                if (segment := tcp_segment(packet)) is not None:
                    self._keep(interface, segment, stack)

    def _keep(self, interface: str, segment: Segment, stack: ExitStack) -> None:
        ends = {end.rpartition(":")[2] for end in (segment.source, segment.target)}
        if not segment.payload or not ends & self._ports:
            return
        way = (interface, segment.source, segment.target)
        if way not in self._files:
            path = self._folder / f"{interface}-{segment.source}-{segment.target}".replace(":", "_")
            self._files[way] = stack.enter_context(path.open("wb"))
        self._files[way].write(segment.payload)
        self.octets += len(segment.payload)


def tcp_segment(packet: bytes) -> Segment | None:
    """The TCP segment in an IPv4 packet (RFC 791, RFC 9293); None for whatever else it is, or one cut short."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    start = 4 * (packet[0] & 15)
    # Past what `total length` counts, short frames are padded.
    segment = packet[start : int.from_bytes(packet[2:4])]
    if len(segment) < 20:
        return None
    source, target = (int.from_bytes(segment[at : at + 2]) for at in (0, 2))
    return Segment(
        f"{socket.inet_ntoa(packet[12:16])}:{source}",
        f"{socket.inet_ntoa(packet[16:20])}:{target}",
        segment[4 * (segment[12] >> 4) :],
    )
