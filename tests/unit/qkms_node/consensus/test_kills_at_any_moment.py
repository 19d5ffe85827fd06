"""kill -9 of one, two or all members at any moment, under load and constant compaction.

The soak kills a hundred times. test_kills_at_disk_calls.py has as many, each at a chosen write.
"""

import asyncio
import random

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster
from tests.unit.qkms_node.consensus.toy_load import Load, check_truth

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

KILLS = (20, pytest.param(100, marks=pytest.mark.soak))
ALWAYS_COMPACTING = {
    "snapshot_after_entries": 20,
    "keep_entries": 5,
    "snapshot_chunk_bytes": 4000,
    "segment_bytes": 8000,
}


@pytest.mark.parametrize("kills", KILLS)
async def test_kills_at_any_moment_lose_nothing(make_cluster: MakeCluster, kills: int) -> None:
    cluster = make_cluster(**ALWAYS_COMPACTING)
    await cluster.start()
    load = Load(cluster, within_s=2)
    running = asyncio.create_task(load.run(clients=16))
    killed = 0
    while killed < kills:
        await load.acknowledged(5)
        await asyncio.sleep(random.random() * 0.2)
        victims = random.sample(cluster.alive, random.choice((1, 1, 1, 2, 3)))
        await asyncio.gather(*(victim.kill() for victim in victims))
        killed += len(victims)
        await asyncio.sleep(random.choice((0, random.random() * 0.3)))
        await asyncio.gather(*(victim.start() for victim in victims))
    load.stop()
    await running
    await check_truth(cluster, load)
    for member in cluster.members.values():
        assert member.log().count("snapshot_taken") > kills / 10
