"""Members die at their k-th change of the disk under load, a hundred in the soak: journal, compaction, start.

By SIGKILL, which leaves half a write, or as by a power failure: all that was not synced is
gone too. Also two or all members at about the same time.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster
from tests.unit.qkms_node.consensus.test_kills_at_any_moment import ALWAYS_COMPACTING
from tests.unit.qkms_node.consensus.toy_cluster import ToyMember
from tests.unit.qkms_node.consensus.toy_load import Load, check_truth

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

DEATHS = (20, pytest.param(100, marks=pytest.mark.soak))
# The part of the path, and at which call on it: a compaction makes about ten, a start of a member about as many.
AT = {"/journal/": 30, "/snapshots/": 10, "/data/": 40}
DIES_WITHIN_S = 1.0


def doom(member: ToyMember, part: str) -> None:
    member.disk.fail(f"any {part} {random.randrange(AT[part])} 1 {random.choice(('KILL', 'POWER'))}")


async def start(member: ToyMember) -> int:
    """Starts the member, which sometimes dies over it before; how often it did."""
    if random.random() < 0.25:
        member.disk.fail(f"any /data/ {random.randrange(12)} 1 {random.choice(('KILL', 'POWER'))}")
        if await member.try_start() == {}:
            assert await member.died(within_s=10)
            member.disk.heal()
            await member.start()
            return 1
        member.disk.heal()
        return 0
    member.disk.heal()
    await member.start()
    return 0


@pytest.mark.parametrize("enough", DEATHS)
async def test_deaths_at_disk_calls_lose_nothing(make_cluster: MakeCluster, disk_shim: Path, enough: int) -> None:
    cluster = make_cluster(shim=disk_shim, **ALWAYS_COMPACTING)
    await cluster.start()
    load = Load(cluster, within_s=2)
    running = asyncio.create_task(load.run(clients=16))
    deaths: Counter[str] = Counter()
    while deaths.total() < enough or min(deaths[kind] for kind in (*AT, "start")) < enough // 30:
        await load.acknowledged(5)
        part = random.choice(list(AT))
        victims = random.sample(cluster.alive, random.choice((1, 1, 1, 2, 3)))
        for victim in victims:
            doom(victim, part)
        ended = await asyncio.gather(*(victim.died(DIES_WITHIN_S) for victim in victims))
        deaths[part] += sum(ended)
        # Where the others died first nothing is written any more.
        await asyncio.gather(*(victim.kill() for victim in victims))
        deaths["start"] += sum(await asyncio.gather(*(start(victim) for victim in victims)))
    load.stop()
    await running
    await check_truth(cluster, load)
