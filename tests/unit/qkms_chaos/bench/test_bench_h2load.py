"""Prepared gRPC bodies, and what h2load prints, as this module reads them."""

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from qkms_chaos.bench.h2load import Summary, Unreadable, grpc_frame, parse_latencies, parse_summary, put_request

OUTPUT = """\
finished in 240.97ms, 8299.82 req/s, 538.29KB/s
requests: 2000 total, 2000 started, 2000 done, 1990 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 1990 2xx, 0 3xx, 10 4xx, 0 5xx
                     min         max         mean         sd        +/- sd
time for request:     1.14ms     30.60ms      6.63ms      4.49ms    88.25%
"""


def test_summary_has_what_succeeded() -> None:
    summary = parse_summary(OUTPUT)
    assert summary == Summary(2000, 1990, summary.elapsed_s)
    assert summary.elapsed_s == pytest.approx(0.24097)


@pytest.mark.parametrize(("printed", "seconds"), [("900us", 0.0009), ("5.07s", 5.07), ("1.50m", 90.0)])
def test_summary_reads_every_unit_of_time(printed: str, seconds: float) -> None:
    assert parse_summary(OUTPUT.replace("240.97ms", printed)).elapsed_s == pytest.approx(seconds)


@pytest.mark.parametrize("line", ["finished in", "requests:"])
def test_summary_refuses_other_output(line: str) -> None:
    with pytest.raises(Unreadable, match="no summary"):
        parse_summary(OUTPUT.replace(line, "?"))


def test_latencies_are_those_of_answered_requests() -> None:
    log = ["1795468471347933\t200\t7560\n", "1795468471347980\t-1\t9\n", "1795468471347980\t200\t11708\n"]
    assert parse_latencies(log) == [0.00756, 0.011708]


def test_latencies_refuse_another_log() -> None:
    with pytest.raises(Unreadable, match="columns"):
        parse_latencies(["1795468471347933 200 7560\n"])


def test_put_request_is_two_length_delimited_fields() -> None:
    message = put_request(b"key", bytes(300))
    assert message[:5] == b"\x0a\x03key"
    assert BytesValue.FromString(message[:5]).value == b"key"
    assert message[5:8] == b"\x12\xac\x02"
    assert len(message) == 8 + 300


def test_frame_says_how_long_the_message_is() -> None:
    assert grpc_frame(bytes(308)) == b"\0\0\0\x01\x34" + bytes(308)
