"""The load generator of nghttp2 as a source of gRPC calls: prepared request bodies, and what it prints.

h2load counts HTTP answers and does not look at grpc-status, which comes in the
trailers: whoever uses these figures must check otherwise that the calls took
effect.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
_REQUESTS = re.compile(r"^requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", re.M)
_FINISHED = re.compile(r"^finished in ([\d.]+)(us|ms|s|m), ", re.M)
_UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LENGTH_DELIMITED = 2


class Unreadable(ValueError):
    """The output is not what this module knows; the message holds its end."""


@dataclass(frozen=True)
class Summary:
    """Requests asked for and answered with 2xx, and the seconds from the first to the last."""

    total: int
    succeeded: int
    elapsed_s: float


def put_request(key: bytes, value: bytes) -> bytes:
    """etcdserverpb.PutRequest with these two fields."""
    return _field(1, key) + _field(2, value)


def grpc_frame(message: bytes) -> bytes:
    """A message as the body of a gRPC call: not compressed, four bytes of length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def parse_summary(output: str) -> Summary:
    """What h2load printed. Raises Unreadable."""
    requests, finished = _REQUESTS.search(output), _FINISHED.search(output)
    if requests is None or finished is None:
        raise Unreadable(f"h2load printed no summary; the end of its output: {output[-300:]!r}")
    elapsed = float(finished[1]) * _UNIT_S[finished[2]]
    return Summary(int(requests[1]), int(requests[3]), elapsed)


def parse_latencies(log: Iterable[str]) -> list[float]:
    """Seconds of each answered request, from the lines of h2load's --log-file. Raises Unreadable."""
    latencies = []
    for line in log:
        columns = line.split("\t")
        if len(columns) < 3:
            raise Unreadable(f"a line of h2load's log has {len(columns)} columns: {line!r}")
        if columns[1] == "200":
            latencies.append(int(columns[2]) / 1e6)
    return latencies


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
