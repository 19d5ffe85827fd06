"""One member of the benchmark's cluster, as a process: the real replica under a trivial state machine.

Run with the path of a JSON file. Takes one JSON object per line on standard
input and answers each in turn on standard output. Load is made in here, on
the event loop beside the replica, as in a node. Ends at the end of its input.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from qkms_chaos.bench.figures import load_of
from qkms_node.consensus.engine import Limits, SyncObjReplica, Tls
from qkms_node.consensus.replica import ConsensusError, StateMachine

WITHIN_S = 10.0
RETRY_S = 0.002
KIB = 1024
FILL_COMMAND_BYTES = 4 * KIB
FILL_OUTSTANDING = 256


class Counter:
    """Counts commands and their bytes; the answer is the count."""

    def __init__(self) -> None:
        self.commands = 0
        self.bytes = 0

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        self.commands += 1
        self.bytes += len(command)
        return self.commands.to_bytes(8, "big")

    def snapshot(self) -> Iterable[bytes]:
        return iter([self.commands.to_bytes(8, "big"), self.bytes.to_bytes(8, "big")])

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterable[object]]:
        commands, size = (int.from_bytes(chunk, "big") for chunk in chunks)

        def install() -> Iterable[object]:
            self.commands, self.bytes = commands, size
            return ()

        return install


class Member:
    """What the benchmark asks of a member."""

    def __init__(self, replica: SyncObjReplica, counter: Counter) -> None:
        self._replica = replica
        self._counter = counter

    async def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        match call["do"]:
            case "status":
                return self._status()
            case "writes":
                command = os.urandom(call["bytes"])
                return await self._drive(lambda: self._replica.propose(command, WITHIN_S), call)
            case "reads":
                return await self._drive(lambda: self._replica.read_barrier(WITHIN_S), call)
            case "first_write":
                return await self._first_write(call["bytes"], call["within_s"])
            case "fill":
                return await self._fill(call["bytes"], call["seconds"])
        raise AssertionError(call)

    def _status(self) -> dict[str, Any]:
        status = self._replica.status()
        return {
            "leader": status.leader_id,
            "applied": status.applied_index,
            "commit": status.commit_index,
            "connected": len(status.connected),
            "commands": self._counter.commands,
        }

    async def _drive(self, call: Callable[[], Awaitable[object]], how: dict[str, Any]) -> dict[str, Any]:
        """Keeps `outstanding` calls under way for `seconds`; counts those answered in that time."""
        latencies: list[float] = []
        begun = time.perf_counter()
        end = begun + how["seconds"]

        async def caller() -> None:
            while (asked := time.perf_counter()) < end:
                await call()
                answered = time.perf_counter()
                if answered < end:
                    latencies.append(answered - asked)

        await asyncio.gather(*(caller() for _ in range(how["outstanding"])))
        return asdict(load_of(latencies, how["seconds"]))

    async def _first_write(self, size: int, within_s: float) -> dict[str, Any]:
        """Proposes until one command is acknowledged; `at` is on the machine's monotonic clock."""
        command = os.urandom(size)
        deadline = time.monotonic() + within_s
        while True:
            try:
                await self._replica.propose(command, within_s)
            except ConsensusError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return {"at": time.monotonic()}

    async def _fill(self, size: int, seconds: float) -> dict[str, Any]:
        """Commits `size` bytes of commands, or what can be committed in that time; tells what was."""
        command = os.urandom(FILL_COMMAND_BYTES)
        left = iter(range(-(-size // FILL_COMMAND_BYTES)))
        before = self._counter.bytes
        begun = time.monotonic()

        async def caller() -> None:
            for _ in left:
                await self._replica.propose(command, WITHIN_S)
                if time.monotonic() - begun >= seconds:
                    return

        await asyncio.gather(*(caller() for _ in range(FILL_OUTSTANDING)))
        return {"seconds": time.monotonic() - begun, "bytes": self._counter.bytes - before}


def make(settings: dict[str, Any], machine: StateMachine) -> SyncObjReplica:
    """The replica that the file describes."""
    ca, certificate, private_key = (Path(name) for name in settings["tls"])
    return SyncObjReplica(
        node_id=settings["node_id"],
        members=settings["members"],
        listen=settings["members"][settings["node_id"]],
        tls=Tls(ca, certificate, private_key),
        data_dir=Path(settings["data_dir"]),
        state_machine=machine,
        limits=Limits(**settings["limits"]),
        cluster_id="bench",
    )


async def main(settings: dict[str, Any]) -> None:
    """Serves until the input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    counter = Counter()
    replica = make(settings, counter)
    await replica.start()
    member = Member(replica, counter)
    while line := await reader.readline():
        try:
            answer: dict[str, Any] = {"value": await member.answer(json.loads(line))}
        except ConsensusError as error:
            answer = {"error": f"{error.code}: {error}"}
        print(json.dumps(answer), flush=True)
    await replica.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
