"""What a world of engines is made of: members, their state machine, the one history, calls; and random trouble."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.raft import Raft
from qkms_node.consensus.reads import Waiter
from qkms_node.consensus.settings import Limits

TINY = Limits(
    entry_bytes=200,
    append_bytes=300,
    window_bytes=600,
    window_messages=3,
    snapshot_after_entries=12,
    keep_entries=3,
    snapshot_chunk_bytes=300,
    segment_bytes=2_000,
    free_floor_bytes=0,
)


@dataclass
class History:
    """What was applied anywhere, as one chain; positions count commands."""

    chain: list[bytes] = field(default_factory=lambda: [b""])
    commands: list[bytes] = field(default_factory=list)

    def add(self, position: int, digest: bytes, command: bytes) -> None:
        if position < len(self.chain):
            assert self.chain[position] == digest, f"two histories at command {position}: {command!r}"
        else:
            self.chain.append(digest)
            self.commands.append(command)


class Machine:
    """A state machine that is nothing but its history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.count = 0
        self._digest = b""
        self._time_ms = 0

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        assert time_ms >= self._time_ms, "time went back"
        self._time_ms = time_ms
        self.count += 1
        self._digest = hashlib.sha256(self._digest + time_ms.to_bytes(8, "big") + command).digest()
        self.history.add(self.count, self._digest, command)
        return command + b"!"

    def snapshot(self) -> Iterable[bytes]:
        numbers = [number.to_bytes(8, "big") for number in (self.count, self._time_ms)]
        return [*numbers, self._digest, *(b"filling" for _ in range(200))]

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterable[object]]:
        first, second, digest, *_ = chunks
        count, time_ms = int.from_bytes(first, "big"), int.from_bytes(second, "big")
        assert self.history.chain[count] == digest, "a snapshot of another history"

        def install() -> Iterable[object]:
            self.count, self._time_ms, self._digest = count, time_ms, digest
            return ()

        return install


@dataclass
class Node:
    """One member. `next_tick`: when it runs again; None while it is down. `sleeps_until`: paused."""

    id: str
    folder: Path
    raft: Raft | None = None
    machine: Machine | None = None
    next_tick: float = 0.0
    sleeps_until: float = 0.0
    routes: dict[str, int] = field(default_factory=dict)  # peer -> connection number, as this side sees it
    background: list[tuple[float, Callable[[], None]]] = field(default_factory=list)


@dataclass
class Call:
    """A client's command or read. `floor`: acknowledged commands when a read began."""

    item: Proposal | Waiter
    node: str
    floor: int
