"""The clients of a load: they create, rotate, disable, use and read a few keys at random (see `load_client`).

Roaming clients know every node; bound ones know one node only, so that both sides of a partition are used.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from qkms_chaos.checking.history import Recorder
from qkms_chaos.workload.caller import Caller
from qkms_chaos.workload.load import LINEARIZABLE, STALE, Load
from qkms_chaos.workload.load_client import LoadClient
from qkms_chaos.workload.staging import Stager
from qkms_chaos.workload.watching import Watcher
from qkms_client import AsyncClient, Profile

TIMEOUT_S = 2.5
BOUND_TIMEOUT_S = 1.0
"""Of a client of one node, which has nowhere else to go."""
PAUSE_S = 0.02


async def create_keys(profile: Profile, load: Load, recorder: Recorder) -> None:
    """The keys of the load, before any fault. Raises QkmsError."""
    async with AsyncClient(profile) as client:
        operator = LoadClient("setup", client, random.Random(load.seed), recorder, load)  # noqa: S311
        for key in load.keys:
            await operator.create(key)


async def last_looks(profile: Profile, load: Load, recorder: Recorder) -> None:
    """Reads every key at each node of the profile, as it is and as it must be."""
    for node, endpoint in profile.endpoints.items():
        async with AsyncClient(replace(profile, endpoints={node: endpoint})) as client:
            one = LoadClient(f"end@{node}", client, random.Random(load.seed), recorder, load, node)  # noqa: S311
            for key in load.keys:
                for named in (LINEARIZABLE, STALE):
                    await one.get(key, named)


def watchers_of(profile: Profile, load: Load, recorder: Recorder) -> list[Watcher]:
    """Those of the load, who go on after it."""
    roams = replace(profile, timeout_s=TIMEOUT_S, attempt_timeout_s=TIMEOUT_S / 2)
    return [
        Watcher(f"watcher-{number}", roams, random.Random(f"{load.seed} {number}"), recorder)  # noqa: S311
        for number in range(1, load.watchers + 1)
    ]


async def run_clients(
    profile: Profile, load: Load, watchers: Sequence[Watcher], recorder: Recorder, seconds: float
) -> None:
    """Runs every client for so long. Raises nothing of what the cluster answers."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    rng = random.Random(load.seed)  # noqa: S311
    places = ["" for _ in range(load.roaming)]
    places += [node for node in profile.endpoints for _ in range(load.bound)]
    async with asyncio.TaskGroup() as group:
        for number, node in enumerate(places):
            name = f"c{number}" + (f"@{node}" if node else "")
            endpoints = {node: profile.endpoints[node]} if node else _rotated(profile, rng)
            time_s = BOUND_TIMEOUT_S if node else TIMEOUT_S
            own = replace(profile, endpoints=endpoints, timeout_s=time_s, attempt_timeout_s=time_s / 2)
            group.create_task(_run(own, name, random.Random(rng.random()), recorder, load, node, stop))  # noqa: S311
        roams = replace(profile, timeout_s=TIMEOUT_S, attempt_timeout_s=TIMEOUT_S / 2)
        for watcher in watchers:
            group.create_task(watcher.run(stop))
        for key in load.staged:
            chooses = random.Random(rng.random())  # noqa: S311
            group.create_task(_stage(roams, key, chooses, Caller(f"stager of {key}", recorder), stop))


def _rotated(profile: Profile, rng: random.Random) -> dict[str, str]:
    nodes = list(profile.endpoints)
    rng.shuffle(nodes)
    return {node: profile.endpoints[node] for node in nodes}


async def _run(
    profile: Profile,
    name: str,
    rng: random.Random,
    recorder: Recorder,
    load: Load,
    node: str,
    stop: asyncio.Event,
) -> None:
    async with AsyncClient(profile) as client:
        one = LoadClient(name, client, rng, recorder, load, node)
        while not stop.is_set():
            await one.step()
            await asyncio.sleep(PAUSE_S * rng.uniform(0.5, 1.5))


async def _stage(profile: Profile, key: str, rng: random.Random, caller: Caller, stop: asyncio.Event) -> None:
    async with AsyncClient(profile) as client:
        stager = Stager(caller, client, rng)
        while not stop.is_set():
            await stager.step(key, stop)
