"""Three members as processes of their own, real TLS, real disks: what a client may rely on."""

import asyncio
import signal
import time

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster
from tests.unit.qkms_node.consensus.toy_cluster import ToyMember, eventually
from tests.unit.qkms_node.consensus.toy_load import Load, check_truth, code_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


async def test_every_member_takes_proposals_and_reads_its_own_writes(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    for turn, member in enumerate(cluster.members.values()):
        assert await member.propose(f"command-{turn}") == f"command-{turn}:1"
        assert (await member.call("counts"))[f"command-{turn}"] == 1


async def test_a_barrier_covers_what_was_acknowledged_elsewhere(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    first, second, third = cluster.members.values()
    for turn in range(20):
        await first.propose(f"command-{turn}")
        index = await second.barrier()
        assert f"command-{turn}" in await second.call("counts")
        assert index <= await third.barrier()
        assert f"command-{turn}" in await third.call("counts")


async def test_proposals_of_one_moment_share_log_entries(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    before = (await (await cluster.leader()).status())["commit"]
    await asyncio.gather(*(m.propose(f"{m.id}-{n}") for m in cluster.members.values() for n in range(300)))
    assert (await cluster.agreed())["commit"] - before < 450
    assert len(await cluster.alive[0].call("counts")) == 900


async def test_leader_killed_under_load_loses_nothing_and_repeats_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=12))
    for _ in range(4):
        await load.acknowledged(150)
        leader = await cluster.leader()
        await leader.kill()
        await cluster.leader(besides=leader.id)
        await load.acknowledged(50)
        await leader.start()
    load.stop()
    await running
    await check_truth(cluster, load)


async def test_all_killed_at_once_and_restarted_have_the_same_state(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=12))
    for _ in range(2):
        await load.acknowledged(150)
        await asyncio.gather(*(member.kill() for member in cluster.members.values()))
        await cluster.start()
    load.stop()
    await running
    await check_truth(cluster, load)


async def test_restart_continues_where_it_ended(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    for turn in range(10):
        await cluster.alive[turn % 3].propose(f"command-{turn}")
    before = await cluster.agreed()
    await asyncio.gather(*(member.stop() for member in cluster.members.values()))
    await cluster.start()
    after = await cluster.agreed()
    assert (after["digest"], after["term"] > before["term"]) == (before["digest"], True)


async def test_a_member_alone_refuses_in_bounded_time(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    leader = await cluster.leader()
    await leader.propose("before")
    for member in cluster.members.values():
        if member is not leader:
            await member.kill()
    for _ in range(3):
        began = time.monotonic()
        codes = await asyncio.gather(
            *(code_of(leader.barrier(within_s=1)) for _ in range(20)),
            code_of(leader.propose("alone", within_s=1)),
        )
        assert time.monotonic() - began < 2
        assert set(codes[:-1]) == {"NO_QUORUM"}
        assert codes[-1] in {"NO_QUORUM", "NOT_COMMITTED", "OUTCOME_UNKNOWN"}
    assert codes[-1] == "NO_QUORUM"  # by now it knows that it leads nobody
    status = await leader.status()
    assert (status["role"] != "LEADER", status["leader"], status["connected"]) == (True, None, [])
    assert status["staleness"] > 1


async def test_a_leader_that_slept_does_not_speak_for_the_past(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    sleeper = await cluster.leader()
    await sleeper.propose("before")
    sleeper.signal(signal.SIGSTOP)
    others = [member for member in cluster.members.values() if member is not sleeper]

    async def succeeded() -> ToyMember | None:
        leaders = {(await member.status())["leader"] for member in others}
        return None if leaders & {None, sleeper.id} else cluster.members[leaders.pop()]

    successor = await eventually(succeeded)
    await successor.propose("meanwhile")
    pending = [asyncio.create_task(sleeper.barrier()), asyncio.create_task(sleeper.barrier())]
    sleeper.signal(signal.SIGCONT)
    await asyncio.gather(*pending)
    assert "meanwhile" in await sleeper.call("counts")


async def test_a_member_that_was_away_too_long_gets_a_snapshot(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(
        snapshot_after_entries=40, keep_entries=10, snapshot_chunk_bytes=1000, segment_bytes=20_000
    )
    await cluster.start()
    away = next(m for m in cluster.members.values() if m.id != (cluster.alive[0]).id)
    await cluster.alive[0].propose("before")
    await away.kill()
    for n in range(200):
        await cluster.alive[n % 2].propose(f"command-{n}|{100 * 'x'}")
    await away.start()
    await cluster.agreed()
    assert "snapshot_installed" in away.log()
    assert len(await away.call("counts")) == 201
    await asyncio.gather(*(member.kill() for member in cluster.members.values()))
    await cluster.start()
    await cluster.agreed()
    assert len(await away.call("counts")) == 201


async def test_leadership_is_handed_over(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=8))
    await load.acknowledged(50)
    leader = await cluster.leader()
    heir = next(member for member in cluster.members.values() if member is not leader)
    assert await leader.call("transfer", target=heir.id, within_s=5)
    assert await cluster.leader(besides=leader.id) is heir
    await load.acknowledged(50)
    load.stop()
    await running
    await check_truth(cluster, load)
    assert set(load.ended.values()) == {"OK"}


async def test_a_fault_in_apply_stops_the_member(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.start()
    leader = await cluster.leader()
    assert await code_of(leader.propose("fault")) in {"OUTCOME_UNKNOWN", "GONE"}
    code, text = await asyncio.wait_for(leader.fatal, 10)
    assert (code, "RuntimeError" in text) == ("APPLY_FAILED", True)
    assert await code_of(leader.propose("after")) == "NOT_COMMITTED"
    assert await code_of(leader.barrier()) == "NO_QUORUM"


async def test_a_data_directory_serves_one_process(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    member = cluster.members["node-1"]
    await member.start()
    second = ToyMember(member.config, "node-1")
    assert (await second.try_start())["failed"] == "DATA_DIR_IN_USE"
    await second.stop()
