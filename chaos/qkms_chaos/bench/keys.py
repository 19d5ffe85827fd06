"""A cluster of three real nodes with very many keys: start-up, listings, rotation, a new root epoch, memory.

Keys are created and rotated through the API, as a service would, so that a
node's ledger, journal and snapshots are its own. One caller encrypts all the
while that something is measured: what its calls take says whether anything
stands still.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from qkms_chaos.bench.figures import Latencies, latencies_of
from qkms_chaos.bench.machine import describe, memory
from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.failures import FAILURES, end_with
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World, world_of
from qkms_client import AsyncClient, load_profile

VERSIONS = 3
OUTSTANDING = 128
PROBE = "probe"
PROBE_PERIOD_S = 0.01
IDLE_S = 5.0
ROTATIONS = 200
PAGE = 100
PAGES = 50
RARE = 1_000
"""One key in so many has the label that a filtered listing asks for."""
REWRAP_TIMEOUT_S = 1_200.0
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Phase:
    """`calls`: of what the phase does, each; `encrypts`: of the caller beside it, call by call."""

    what: str
    seconds: float
    calls: Latencies | None
    encrypts: Latencies


@dataclass
class KeysResult:
    """Sizes in bytes, durations in seconds. `bytes_per_key`: resident memory of a node over an empty one."""

    keys: int
    machine: dict[str, str] = field(default_factory=describe)
    mutations_per_s: float = 0.0
    bytes_per_key: float = 0.0
    start_s: float = 0.0
    rewrapped_per_s: float = 0.0
    phases: list[Phase] = field(default_factory=list)


@click.command("bench-keys")
@click.option("--keys", type=click.IntRange(10), default=100_000, show_default=True, help="Each has 3 versions.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def bench_keys_command(keys: int, as_json: bool) -> None:
    """Measure a cluster of three nodes that holds many keys of three versions each.

    100,000 keys are 300,000 mutations first: some ten minutes.

    \b
    example:  qkms-chaos bench-keys --keys 5000
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="qkms-bench-", dir=".") as folder,
            Progress(console=Console(stderr=True)) as progress,
        ):
            result = bench_keys(Path(folder) / "cluster", keys, progress)
    except FAILURES as error:
        end_with(Console(stderr=True), error)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    else:
        _show(Console(), result)


def bench_keys(folder: Path, keys: int, progress: Progress) -> KeysResult:
    """Runs it in a new cluster in `folder`. Raises QkmsError, WaitExpired when something does not work."""
    result = KeysResult(keys)
    layout = open_layout(folder)
    with Cluster(layout) as cluster:
        cluster.start()
        with world_of(cluster) as world:
            world.observer.wait_root(1)
            world.payments.create_key(PROBE)
            empty = _resident(cluster)
            asyncio.run(_measure(world, result, progress))
            result.bytes_per_key = (_resident(cluster) - empty) / keys
            result.start_s = _restart(world)
    return result


async def _measure(world: World, result: KeysResult, progress: Progress) -> None:
    profile = load_profile(world.cluster.layout.service_profile("payments"))
    async with AsyncClient(profile) as client, AsyncClient(profile, streams=False) as prober:
        phase = _Phases(prober, result)
        async with phase("nothing else"):
            await asyncio.sleep(IDLE_S)
        begun = time.monotonic()
        await _fill(client, result.keys, progress)
        result.mutations_per_s = result.keys * VERSIONS / (time.monotonic() - begun)
        async with phase("nothing else, all keys there"):
            await asyncio.sleep(IDLE_S)
        async with phase(f"pages of {PAGE} keys") as timed:
            pages = client.list_keys(page_size=PAGE)
            for _ in range(min(PAGES, result.keys // PAGE)):
                await timed(lambda: _take(pages, PAGE))
        async with phase(f"all keys with a label that one in {RARE} has") as timed:
            await timed(lambda: _all(client.list_keys(labels={"rare": "yes"})))
        async with phase("versions of a key") as timed:
            for number in range(min(ROTATIONS, result.keys)):
                await timed(lambda number=number: client.list_versions(_name(number)))  # type: ignore[misc]
        async with phase("rotations") as timed:
            for number in range(min(ROTATIONS, result.keys)):
                await timed(lambda number=number: client.rotate_key(_name(number)))  # type: ignore[misc]
        async with phase("a new root epoch, all versions rewrapped"):
            seconds = await asyncio.to_thread(_new_epoch, world)
        result.rewrapped_per_s = result.keys * VERSIONS / seconds


Timed = Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]


class _Phases:
    """Measures what is done inside, and encrypts beside it."""

    def __init__(self, prober: AsyncClient, result: KeysResult) -> None:
        self._prober = prober
        self._result = result

    @asynccontextmanager
    async def __call__(self, what: str) -> AsyncIterator[Timed]:
        calls: list[float] = []
        encrypts: list[float] = []

        async def timed(work: Callable[[], Awaitable[object]]) -> None:
            begun = time.perf_counter()
            await work()
            calls.append(time.perf_counter() - begun)

        ended = asyncio.Event()

        async def probe() -> None:
            # The encrypt under way at the end is waited for: it may be the one that was held up.
            while not ended.is_set():
                begun = time.perf_counter()
                await self._prober.encrypt(PROBE, b"beside it")
                encrypts.append(time.perf_counter() - begun)
                await asyncio.sleep(PROBE_PERIOD_S)

        probing, begun = asyncio.create_task(probe()), time.monotonic()
        await asyncio.sleep(0)
        try:
            yield timed
        finally:
            seconds = time.monotonic() - begun
            ended.set()
            await probing
        summary = latencies_of(calls) if calls else None
        self._result.phases.append(Phase(what, seconds, summary, latencies_of(encrypts)))


async def _fill(client: AsyncClient, keys: int, progress: Progress) -> None:
    task = progress.add_task("creating and rotating keys", total=keys)
    numbers = iter(range(keys))

    async def work() -> None:
        for number in numbers:
            labels = {"rare": "yes"} if number % RARE == 0 else {"app": "bench"}
            await client.create_key(_name(number), labels=labels, timeout=60)
            for version in range(1, VERSIONS):
                await client.rotate_key(_name(number), expected_primary_version=version, timeout=60)
            progress.advance(task)

    async with asyncio.TaskGroup() as group:
        for _ in range(OUTSTANDING):
            group.create_task(work())


def _name(number: int) -> str:
    return f"key-{number:07d}"


async def _take(pages: AsyncIterator[object], count: int) -> None:
    for _ in range(count):
        await anext(pages)


async def _all(found: AsyncIterator[object]) -> int:
    return len([key async for key in found])


def _new_epoch(world: World) -> float:
    """Seconds from the new epoch's activation until no version is under another."""
    epoch = world.new_root_epoch()
    begun = time.monotonic()

    def probe() -> None:
        uses = world.operator.status(timeout=30).epoch_uses
        left = sum(use.version_count for use in uses if use.epoch < epoch)
        if left:
            raise NotYet(f"{left} versions are not under epoch {epoch}")

    wait_for("all versions to be rewrapped", probe, REWRAP_TIMEOUT_S)
    return time.monotonic() - begun


def _restart(world: World) -> float:
    """Seconds from the start of a node's process until it agrees with the others."""
    follower = world.others(world.observer.wait_leader())[0]
    process = world.cluster.nodes[follower]
    process.terminate()
    begun = time.monotonic()
    world.cluster.start_members([follower], START_TIMEOUT_S)
    world.observer.wait_agreement(timeout_s=START_TIMEOUT_S)
    return time.monotonic() - begun


def _resident(cluster: Cluster) -> int:
    return max(memory(process.pid).resident_bytes for process in cluster.nodes.values())


def _show(console: Console, result: KeysResult) -> None:
    console.print(
        f"{result.keys:,} keys of {VERSIONS} versions; {result.mutations_per_s:,.0f} mutations/s; "
        f"{result.bytes_per_key:,.0f} bytes of a node's memory for each key; "
        f"a node starts in {result.start_s:.1f} s; {result.rewrapped_per_s:,.0f} versions rewrapped/s"
    )
    titles = ("while", "seconds", "calls", "p50 ms", "p99 ms", "max ms", "encrypt p50", "p99", "max")
    table = Table(*titles)
    for p in result.phases:
        calls = (f"{p.calls.count}", *_ms(p.calls)) if p.calls else ("", "", "", "")
        table.add_row(p.what, f"{p.seconds:.1f}", *calls, *_ms(p.encrypts))
    console.print(table)


def _ms(found: Latencies) -> tuple[str, str, str]:
    return f"{found.p50_ms:.1f}", f"{found.p99_ms:.1f}", f"{found.max_ms:.0f}"
