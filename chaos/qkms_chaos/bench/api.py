"""Encrypt as single calls, over a stream, and in batches: calls answered per second, side by side.

Three real nodes and their KMEs, one caller in this process through AsyncClient,
which competes with the nodes for the same processors. The three ways alternate
and each figure is the median of its repetitions: what the ratios say survives a
busy machine better than the rates do.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.failures import FAILURES, end_with
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.world import world_of
from qkms_client import AsyncClient, QkmsError, batch, load_profile

OUTSTANDING = 64
"""Single calls under way, and calls in one batch."""
REPETITIONS = 3
KEY = "bench"
PLAINTEXT = bytes(256)


@click.command("bench-api")
@click.option("--json", "as_json", is_flag=True, help="Print the rates as JSON.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Length of each load."
)
def bench_api_command(as_json: bool, seconds: float) -> None:
    """Measure Encrypt at a cluster of three nodes: single calls, one stream, batches.

    \b
    example:  qkms-chaos bench-api --seconds 5
    """
    try:
        with tempfile.TemporaryDirectory(prefix="qkms-bench-") as folder:
            rates = bench_api(Path(folder) / "cluster", seconds)
    except FAILURES as error:
        end_with(Console(stderr=True), error)
    if as_json:
        click.echo(json.dumps({"per_s": rates, "load": os.getloadavg()}, indent=2))
        return
    table = Table("way", "calls/s", "x unary")
    for way, rate in rates.items():
        table.add_row(way, f"{rate:,.0f}", f"{rate / rates['unary']:.2f}")
    Console().print(table)


def bench_api(folder: Path, seconds: float) -> dict[str, float]:
    """Calls per second by way. Raises QkmsError when any call fails."""
    layout = open_layout(folder)
    with Cluster(layout, None, None) as cluster:
        cluster.prepare()
        cluster.start_members([*cluster.kmes, *cluster.nodes])
        with world_of(cluster) as world:
            world.observer.wait_root(1)
            world.payments.create_key(KEY)
            return asyncio.run(_measure(layout.service_profile("payments"), seconds))


async def _measure(profile_path: Path, seconds: float) -> dict[str, float]:
    profile = load_profile(profile_path)
    async with AsyncClient(profile, streams=False) as unary, AsyncClient(profile) as streaming:

        async def in_a_batch() -> int:
            results = await streaming.batch([batch.encrypt(KEY, PLAINTEXT)] * OUTSTANDING)
            for result in results:
                if isinstance(result, QkmsError):
                    raise result
            return len(results)

        async def one(client: AsyncClient) -> int:
            await client.encrypt(KEY, PLAINTEXT)
            return 1

        ways: dict[str, tuple[int, Callable[[], Awaitable[int]]]] = {
            "unary": (OUTSTANDING, lambda: one(unary)),
            "stream": (OUTSTANDING, lambda: one(streaming)),
            "batch": (1, in_a_batch),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(REPETITIONS):
            for way, (outstanding, work) in ways.items():
                rates[way].append(await _rate(outstanding, work, seconds))
    return {way: median(found) for way, found in rates.items()}


async def _rate(outstanding: int, work: Callable[[], Awaitable[int]], seconds: float) -> float:
    answered, begun = 0, time.monotonic()

    async def keep_on() -> None:
        nonlocal answered
        while time.monotonic() - begun < seconds:
            count = await work()
            answered += count

    await asyncio.gather(*(keep_on() for _ in range(outstanding)))
    return answered / (time.monotonic() - begun)
