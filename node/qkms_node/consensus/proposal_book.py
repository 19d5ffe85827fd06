"""What is known of each proposal on its way: where it waits, who has it, which entry carries it."""

from collections import deque
from dataclasses import dataclass, field

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.replica import ConsensusError


@dataclass(eq=False, slots=True)
class Proposal:
    """One command, or one membership change, of this node's caller. `result` is set when it has ended."""

    command: bytes
    deadline: float
    ticket: object
    change: Change | None = None
    left_queue: bool = False
    result: bytes | ConsensusError | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Commands that enter the log together. `origin`: the follower and its number, None for own."""

    commands: list[bytes]
    own: list[Proposal]
    origin: tuple[str, int] | None


@dataclass
class Book:
    """Where proposals are: queued, forwarded by number, or in the log by index."""

    queue: deque[Proposal] = field(default_factory=deque)
    queued_bytes: int = 0
    received: deque[Group] = field(default_factory=deque)
    forwarded: dict[int, tuple[str, list[Proposal]]] = field(default_factory=dict)
    logged: dict[int, list[tuple[int, int, list[Proposal]]]] = field(default_factory=dict)
