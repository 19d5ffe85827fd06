"""One member with a toy state machine, as a process: the tests' cluster is made of these.

Run with the path of a JSON file. Takes one JSON object per line on standard
input and answers each, out of order, on standard output.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.engine import Limits, SyncObjReplica, Timing, Tls
from qkms_node.consensus.replica import ConsensusError

FILLERS = 64


class Tally:
    """Counts how often each command was applied, and chains all of them into one digest.

    A command is a name, or a name, "|" and a ballast that is part of the state where the
    name begins with "kept".
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.kept: dict[str, bytes] = {}
        self.digest = b""
        self.times: list[int] = []

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        head, _, ballast = command.partition(b"|")
        name = head.decode()
        if name == "fault":
            raise RuntimeError("a defect in the state machine")
        if name.startswith("kept"):
            self.kept[name] = ballast
        self.counts[name] = self.counts.get(name, 0) + 1
        self.digest = hashlib.sha256(self.digest + time_ms.to_bytes(8, "big") + command).digest()
        assert not self.times or time_ms >= self.times[-1], "time went back"
        self.times = [time_ms]
        return f"{name}:{self.counts[name]}".encode()

    def snapshot(self) -> Iterable[bytes]:
        counts, kept = list(self.counts.items()), dict(self.kept)
        rows = (f"{name} {count}|".encode() + kept.get(name, b"") for name, count in counts)
        return itertools.chain([self.digest], rows)

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterable[object]]:
        iterator = iter(chunks)
        digest = next(iterator)
        counts: dict[str, int] = {}
        kept: dict[str, bytes] = {}
        for chunk in iterator:
            head, _, ballast = chunk.partition(b"|")
            name, count = head.decode().split(" ")
            counts[name] = int(count)
            if ballast:
                kept[name] = ballast

        def install() -> Iterable[object]:
            self.digest, self.counts, self.kept = digest, counts, kept
            return ()

        return install

    def kept_digest(self) -> str:
        """Of all ballast that is part of the state."""
        digest = hashlib.sha256()
        for name in sorted(self.kept):
            digest.update(f"{name}|{len(self.kept[name])}|".encode() + self.kept[name])
        return digest.hexdigest()


def report_status(replica: SyncObjReplica, tally: Tally) -> dict[str, Any]:
    status = replica.status()
    return {
        "role": status.role.name,
        "term": status.term,
        "leader": status.leader_id,
        "commit": status.commit_index,
        "applied": status.applied_index,
        "staleness": status.staleness_s,
        "connected": sorted(status.connected),
        "voters": sorted(status.configuration.voters),
        "learners": sorted(status.configuration.learners),
        "digest": base64.b64encode(tally.digest).decode(),
    }


async def answer(replica: SyncObjReplica, tally: Tally, call: dict[str, Any]) -> object:
    match call["do"]:
        case "propose":
            return (await replica.propose(call["command"].encode(), call["within_s"])).decode()
        case "barrier":
            return await replica.read_barrier(call["within_s"])
        case "status":
            return report_status(replica, tally)
        case "counts":
            return tally.counts
        case "change":
            change = Change(call["kind"], call["member"], call["address"])
            return sorted((await replica.change_members(change, call["within_s"])).voters)
        case "kept":
            return tally.kept_digest()
        case "fill":
            return await fill(replica, **call["what"])
        case "transfer":
            return await replica.transfer_leadership(call["target"], call["within_s"])
    raise AssertionError(call)


async def fill(replica: SyncObjReplica, name: str, commands: int, size: int) -> int:
    """Proposes so many commands of `size` bytes, made in here where they cost no pipe."""
    left = iter(range(commands))

    async def client() -> int:
        done = 0
        for number in left:
            head = f"{name}-{number}|".encode()
            await replica.propose(head + hashlib.shake_128(head).digest(size - len(head)), 30)
            done += 1
        return done

    return sum(await asyncio.gather(*(client() for _ in range(FILLERS))))


def use_hosts(hosts: dict[str, str]) -> None:
    """What this process looks up there, as if /etc/hosts were its own."""
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *rest: Any, **named: Any) -> Any:
        return look_up(hosts.get(host, host), *rest, **named)

    socket.getaddrinfo = look_up_here


def make(path: Path, tally: Tally) -> SyncObjReplica:
    settings = json.loads(path.read_text())
    log = path.with_suffix(".log").open("a", buffering=1)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
    use_hosts(settings["hosts"])
    ca, certificate, private_key = (Path(name) for name in settings["tls"])
    return SyncObjReplica(
        node_id=settings["node_id"],
        members=settings["members"],
        listen=settings["listen"],
        tls=Tls(ca, certificate, private_key),
        data_dir=Path(settings["data_dir"]),
        state_machine=tally,
        timing=Timing(**settings["timing"]),
        limits=Limits(**settings["limits"]),
        joining=settings.get("joining", False),
    )


def failure(how: str, error: BaseException) -> dict[str, str]:
    """As the node logs it."""
    return {how: getattr(error, "code", type(error).__name__), "text": str(error)}


async def main(replica: SyncObjReplica, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def say(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    async def serve(call: dict[str, Any]) -> None:
        try:
            say({"call": call["call"], "value": await answer(replica, tally, call)})
        except ConsensusError as error:
            say({"call": call["call"], "error": error.code, "text": str(error)})

    try:
        await replica.start()
    except Exception as error:
        say(failure("failed", error))
        return
    say({"started": True})
    fatal = asyncio.create_task(replica.wait_fatal())
    fatal.add_done_callback(lambda task: None if task.cancelled() else say(failure("fatal", task.result())))
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(serve(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    fatal.cancel()
    await replica.stop()


if __name__ == "__main__":
    machine = Tally()
    asyncio.run(main(make(Path(sys.argv[1]), machine), machine))
