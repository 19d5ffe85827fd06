"""Calls made straight to one node, past the SDK's checks, retries and fail-over: how they are refused."""

from collections.abc import Callable
from typing import cast

import grpc

from qkms_client.errors import QkmsError
from qkms_client.status import error_of


class NotRefused(Exception):
    """The call was answered, with what the message names."""


def refusal_of(call: Callable[[], object]) -> QkmsError:
    """The typed error that a blocking gRPC call ends with. Raises NotRefused."""
    try:
        answer = call()
    except grpc.RpcError as error:
        ended = cast("grpc.Call", error)
        return error_of(ended.code(), ended.details(), ended.trailing_metadata() or ())
    raise NotRefused(type(answer).__name__)
