"""`qkms-chaos bench-keys`: many keys with three versions each, at a cluster of three real nodes.

The ledger is filled by real calls. Then encrypts go on, one after another, while
keys are listed, keys are rotated by hand, and every version moves under a new
root epoch; each phase has the encrypts' latencies beside its own calls'. At the
end one node is killed and started again on its disk. The caller competes with
the nodes for the same processors: ratios say more than rates.

Not measured: rotation by period, the stall of a snapshot (see snapshots), and
both ways of starting in one run: a node decides itself when it takes a snapshot,
and the result says what it started from.
"""

import asyncio
import os
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from qkms_chaos.bench import machine
from qkms_chaos.bench.figures import latencies_of
from qkms_chaos.bench.keys_report import KeysResult, Phase
from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World, world_of
from qkms_chaos.tour.narrator import Narrator
from qkms_client import AsyncClient, KeyState, load_profile

VERSIONS = 3
OUTSTANDING = 64
CALLS = 200
"""Rotations by hand, and listings of versions."""
QUIET_S = 5.0
PAGE = 100
PATIENCE_S = 3600.0
POLL_S = 0.05
ENCRYPTING = "bench-00000000"
PLAINTEXT = bytes(256)


def bench_keys(console: Console, keys: int, folder: Path | None = None) -> KeysResult:
    """Runs everything with `keys` keys below `folder` (default: the current one, for its disk).

    Raises QkmsError, WaitExpired, ProcessDied, OSError; nothing is left running or on disk.
    """
    result = KeysResult(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), machine.describe(), keys, VERSIONS)
    processors = machine.Processors()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder or Path.cwd()) as name:
        layout = open_layout(Path(name) / "cluster")
        with Cluster(layout, None, None) as cluster:
            cluster.prepare()
            cluster.start_members([*cluster.kmes, *cluster.nodes])
            with world_of(cluster) as world:
                world.observer.wait_root(1)
                asyncio.run(_Run(result, world, Narrator(console, 5)).everything())
    result.machine["others"] = (
        f"{processors.used_by_others():.2f} of {os.cpu_count()} cores, averaged over the run"
    )
    return result


class _Run:
    def __init__(self, result: KeysResult, world: World, narrator: Narrator) -> None:
        self._result = result
        self._world = world
        self._narrator = narrator
        self._names = [f"bench-{number:08d}" for number in range(result.keys)]

    async def everything(self) -> None:
        layout = self._world.cluster.layout
        async with AsyncClient(load_profile(layout.service_profile("payments"))) as client:
            with self._narrator.step(f"{self._result.keys:,} keys with {VERSIONS} versions each") as say:
                await self._fill(client)
                say(f"{self._result.bytes_per_key:.0f} bytes of memory for each key, at one node")
            with self._narrator.step("keys are listed") as say:
                await self._list(client)
                say(f"{self._result.keys:,} keys in pages of {PAGE}")
            with self._narrator.step("keys are rotated by hand") as say:
                await self._each(client, "rotate by hand", client.rotate_key)
                say(f"{min(CALLS, self._result.keys)} rotations")
            with self._narrator.step("every version moves under a new root epoch") as say:
                async with self._phase(client, "rewrap"):
                    await asyncio.to_thread(self._rewrap)
                say(f"{self._result.rewrap_s:.1f} s")
        with self._narrator.step("a node is killed and starts again") as say:
            self._restart()
            say(f"ready in {self._result.start_s:.1f} s")

    async def _fill(self, client: AsyncClient) -> None:
        process = self._world.cluster.member(self._world.nodes[0])
        before = machine.memory(process.pid).resident_bytes
        begun = time.monotonic()
        for start in range(0, len(self._names), OUTSTANDING):
            await asyncio.gather(*(_make(client, name) for name in self._names[start : start + OUTSTANDING]))
        self._result.fill_s = time.monotonic() - begun
        await asyncio.to_thread(self._world.observer.wait_agreement)
        grown = machine.memory(process.pid).resident_bytes - before
        self._result.bytes_per_key = grown / self._result.keys

    async def _list(self, client: AsyncClient) -> None:
        async with self._phase(client, "nothing else"):
            await asyncio.sleep(QUIET_S)
        async with self._phase(client, "list, all pages") as calls:
            await _pages(client, calls)
        async with self._phase(client, "list, a filter that none passes") as calls:
            await _timed(calls, lambda: _none(client))
        await self._each(client, "list versions", client.list_versions)

    async def _each(self, client: AsyncClient, what: str, call: Callable[[str], Awaitable[object]]) -> None:
        async with self._phase(client, what) as calls:
            for name in self._names[-CALLS:]:
                await _timed(calls, partial(call, name))

    def _rewrap(self) -> None:
        epoch = self._world.observer.wait_agreement().root
        assert epoch is not None
        begun = time.monotonic()
        self._world.operator.rotate_root()
        self._world.observer.wait_root(epoch.epoch + 1)

        def look() -> None:
            for node, status in self._world.observer.statuses().items():
                older = [use for use in status.epoch_uses if use.epoch <= epoch.epoch and use.version_count]
                if older:
                    raise NotYet(f"{node}: {older}")

        wait_for("every version to be under the new epoch", look, PATIENCE_S, POLL_S)
        self._result.rewrap_s = time.monotonic() - begun

    def _restart(self) -> None:
        node = self._world.nodes[-1]
        self._world.cluster.member(node).kill()
        snapshots = self._world.cluster.layout.home(node) / "snapshots"
        self._result.started_from = "a snapshot and the journal" if _any(snapshots) else "the journal"
        begun = time.monotonic()
        self._world.cluster.start_members([node], PATIENCE_S)
        self._result.start_s = time.monotonic() - begun
        self._world.observer.wait_agreement(timeout_s=PATIENCE_S)

    @asynccontextmanager
    async def _phase(self, client: AsyncClient, what: str) -> AsyncIterator[list[float]]:
        """Encrypts go on during the block, which puts its own calls' lengths in the list it is given."""
        calls: list[float] = []
        encrypts: list[float] = []
        ended = asyncio.Event()

        async def keep_on() -> None:
            while not ended.is_set() or not encrypts:
                await _timed(encrypts, lambda: client.encrypt(ENCRYPTING, PLAINTEXT))

        encrypting = asyncio.create_task(keep_on())
        begun = time.monotonic()
        try:
            yield calls
        finally:
            ended.set()
            await encrypting
        seconds = time.monotonic() - begun
        own = latencies_of(calls) if calls else None
        self._result.phases.append(Phase(what, seconds, latencies_of(encrypts), own))


def _any(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


async def _make(client: AsyncClient, name: str) -> None:
    await client.create_key(name)
    for _ in range(VERSIONS - 1):
        await client.rotate_key(name)


async def _pages(client: AsyncClient, calls: list[float]) -> None:
    """Every key; the first of each page waits for the page."""
    listing, number = aiter(client.list_keys(page_size=PAGE)), 0
    while True:
        begun = time.monotonic()
        if await anext(listing, None) is None:
            return
        if number % PAGE == 0:
            calls.append(time.monotonic() - begun)
        number += 1


async def _none(client: AsyncClient) -> None:
    async for key in client.list_keys(labels={"nobody": "has"}, state=KeyState.ENABLED, page_size=PAGE):
        raise AssertionError(key)


async def _timed(lengths: list[float], call: Callable[[], Awaitable[object]]) -> None:
    begun = time.monotonic()
    await call()
    lengths.append(time.monotonic() - begun)
