"""Calls as generators that do no IO: one definition for both clients.

A flow yields steps and is sent an event for each: the time, and what came
back. The sync and the async client differ only in how they perform a step.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from qkms_client.errors import QkmsError
from qkms_client.methods import Method


@dataclass(frozen=True)
class Send:
    """Call a method at a node, with a deadline in seconds."""

    endpoint: str
    method: Method[Any, Any]
    request: Message
    timeout: float


@dataclass(frozen=True)
class Pause:
    """Wait; 0 seconds asks for the time only."""

    seconds: float


@dataclass(frozen=True)
class OpenStream:
    """Begin a streaming call at a node; an open one is ended first."""

    endpoint: str
    method: Method[Any, Any]
    request: Message


@dataclass(frozen=True)
class Receive:
    """The next message of the open stream."""


@dataclass(frozen=True)
class Event:
    """What a step came to. `time` is monotonic, in seconds."""

    time: float
    response: Message | None = None
    error: QkmsError | None = None


Step: TypeAlias = Send | Pause | OpenStream | Receive

T = TypeVar("T")
Flow = Generator[Step, Event, T]
