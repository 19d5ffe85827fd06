"""One member of the snapshot benchmark, as a process: the real replica under the real ledger store.

Run with the path of a JSON file; takes calls as `member` does. A gauge watches
the engine's rounds from the start; on demand a light load runs beside it. Spans
are asked for afterwards, on the machine's monotonic clock.
"""

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import MutableMapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from qkms_chaos.bench import ledger_fill
from qkms_chaos.bench.figures import latencies_of
from qkms_chaos.bench.machine import memory
from qkms_chaos.bench.member import make
from qkms_chaos.bench.rounds import RoundGauge, gaps_of
from qkms_node.consensus.engine import SyncObjReplica
from qkms_node.consensus.raft import Raft
from qkms_node.consensus.replica import ConsensusError
from qkms_node.ledger.commands import AnyCommand, encode_command
from qkms_node.service.store import LedgerStore

WITHIN_S = 10.0
POLL_S = 0.005
LOAD_EVERY_S = 0.01
ENOUGH = 1 << 50  # entries after which every engine takes a snapshot


class Events:
    """A structlog processor that notes when the engine reported what."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, dict[str, Any]]] = []

    def __call__(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self.seen.append((time.monotonic(), dict(event)))
        return event

    async def next(self, name: str, since: float) -> tuple[float, dict[str, Any]]:
        """The first event of that name from `since` on."""
        while True:
            found = next((e for e in self.seen if e[0] >= since and e[1]["event"] == name), None)
            if found is not None:
                return found
            await asyncio.sleep(POLL_S)


class LedgerMember:
    """What the benchmark asks of a member."""

    def __init__(self, replica: SyncObjReplica, store: LedgerStore, events: Events) -> None:
        self._replica = replica
        self._store = store
        self._events = events
        self._gauge = RoundGauge(self._submit)
        self._latencies: list[tuple[float, float]] = []
        self._failures = 0
        self._load: asyncio.Task[None] | None = None
        self._rng = random.Random(1)  # noqa: S311  # spreads the load over the keys
        self.start_s = 0.0
        self.empty_bytes = 0

    async def start(self) -> None:
        """Loads what is on disk and runs."""
        self.empty_bytes = memory("self").resident_bytes
        begun = time.monotonic()
        await self._replica.start()
        gc.freeze()  # as a node does
        self.start_s = time.monotonic() - begun
        self._gauge.start()

    async def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        match call["do"]:
            case "status":
                return self._status()
            case "about":
                return self._about()
            case "load":
                self._load = asyncio.create_task(self._keep_loading(call["keys"]))
                return {}
            case "snapshot":
                return await self._snapshot()
            case "digest":
                begun = time.monotonic()
                _, revision, digest = self._store.digest()
                return {"seconds": time.monotonic() - begun, "revision": revision, "digest": digest.hex()}
            case "event":
                at, event = await self._events.next(call["name"], call["since"])
                return {"at": at, **event}
            case "idle":
                await self._idle()
                return {}
            case "span":
                return self._span(call["since"], call["until"])
        raise AssertionError(call)

    def _submit(self, item: Any) -> None:
        thread = self._replica._thread
        assert thread is not None
        thread.submit(item)

    def _status(self) -> dict[str, Any]:
        status = self._replica.status()
        return {
            "leader": status.leader_id,
            "applied": status.applied_index,
            "commit": status.commit_index,
            "connected": len(status.connected),
            "commands": 0,  # a snapshot carries commands that a member never applied
            "term": status.term,
        }

    def _about(self) -> dict[str, Any]:
        with self._store.view() as state:
            records = ledger_fill.count(state)
        return {"records": records, "start_s": self.start_s, "empty_bytes": self.empty_bytes}

    async def _snapshot(self) -> dict[str, Any]:
        """Has the engine take one now."""
        begun = time.monotonic()

        def due(raft: Raft) -> None:
            raft.application.entries_since_snapshot = ENOUGH

        self._submit(due)
        at, event = await self._events.next("consensus.snapshot_taken", begun)
        return {"begun": begun, "ended": at, "size": event["size"]}

    async def _idle(self) -> None:
        """Waits until the engine has no work in the background."""
        busy: list[bool] = [True]

        def look(raft: Raft) -> None:
            busy.append(raft.snapshots.busy)

        while busy[-1]:
            self._submit(look)
            await asyncio.sleep(POLL_S)

    async def _keep_loading(self, keys: int) -> None:
        """A command every ten milliseconds, whether or not the ones before were answered."""
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            task = asyncio.create_task(self._propose(self._command(keys)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += LOAD_EVERY_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _propose(self, command: AnyCommand) -> None:
        asked = time.monotonic()
        try:
            await self._replica.propose(encode_command(command), WITHIN_S)
        except ConsensusError:
            self._failures += 1
        self._latencies.append((asked, time.monotonic() - asked))

    def _command(self, keys: int) -> AnyCommand:
        with self._store.view() as state:
            if self._rng.random() < 0.5:
                return ledger_fill.create(f"load-{len(self._latencies)}-{time.monotonic_ns()}", state.active_epoch)
            key = state.key(ledger_fill.key_id(self._rng.randrange(keys)))
            return ledger_fill.rotate(key.key_id, key.primary, key.version_count, state.active_epoch)

    def _span(self, since: float, until: float) -> dict[str, Any]:
        latencies = [length for asked, length in self._latencies if since <= asked <= until]
        return {
            "gaps": asdict(gaps_of(self._gauge.so_far(), since, until)),
            "commits": asdict(latencies_of(latencies)) if latencies else None,
            "failures": self._failures,
            "term": self._replica.status().term,
        }


async def main(settings: dict[str, Any]) -> None:
    """Serves until the input ends."""
    events = Events()
    structlog.configure(
        processors=[events, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    store = LedgerStore(loop)
    replica = make(settings, store)
    member = LedgerMember(replica, store, events)
    await member.start()
    while line := await reader.readline():
        try:
            answer: dict[str, Any] = {"value": await member.answer(json.loads(line))}
        except ConsensusError as error:
            answer = {"error": f"{error.code}: {error}"}
        print(json.dumps(answer), flush=True)
    await replica.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
