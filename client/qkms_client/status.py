"""From a failed gRPC call to a typed error.

Reads the google.rpc.Status in `grpc-status-details-bin`. A status without
ErrorInfo of the domain "qkms" was not made by a node's service: it is a failure
of the connection, or of gRPC itself.
"""

from collections.abc import Iterable

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from qkms_client.errors import (
    BY_REASON,
    DeadlineExceeded,
    FieldViolation,
    Overloaded,
    PermissionDenied,
    QkmsError,
    Unavailable,
)

DOMAIN = "qkms"
DETAILS_KEY = "grpc-status-details-bin"

# Statuses that gRPC makes itself when a connection or a server process goes away.
_CONNECTION_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
    }
)

# Said by gRPC when no connection could be made at all. If a later gRPC words it otherwise,
# the call counts as possibly sent: the safe side.
_NEVER_SENT = ("failed to connect to all addresses", "DNS resolution failed")


class NotSent(Unavailable):
    """The request never left this process: no connection to the node could be made."""


def error_of(code: grpc.StatusCode, details: str | None, metadata: Iterable[tuple[str, str | bytes]]) -> QkmsError:
    """The error of a finished call, from its code, its text and its trailing metadata."""
    text = details or code.name
    rich = _rich_status(metadata)
    if rich is not None:
        error = _typed(rich)
        if error is not None:
            return error
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("no answer in time")
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return PermissionDenied(text)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" not in text:
        return Overloaded(text)
    if code in _CONNECTION_LOST:
        if any(mark in text for mark in _NEVER_SENT):
            return NotSent(text)
        return Unavailable(f"the connection failed: {text}")
    return QkmsError(text, reason=code.name)


def error_of_status(status: status_pb2.Status) -> QkmsError:
    """The error of a call carried by Batch or Stream, from the status it was answered with."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return _typed(status) or error_of(codes.get(status.code, grpc.StatusCode.UNKNOWN), status.message, ())


def _rich_status(metadata: Iterable[tuple[str, str | bytes]]) -> status_pb2.Status | None:
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _typed(status: status_pb2.Status) -> QkmsError | None:
    try:
        return _detailed(status)
    except DecodeError:
        return None


def _detailed(status: status_pb2.Status) -> QkmsError | None:
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    retry_after: float | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
        elif detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            detail.Unpack(bad)
    if info.domain != DOMAIN:
        return None
    return BY_REASON.get(info.reason, QkmsError)(
        status.message,
        reason=info.reason,
        metadata=info.metadata,
        retry_after=retry_after,
        fields=tuple(FieldViolation(v.field, v.description) for v in bad.field_violations),
    )
