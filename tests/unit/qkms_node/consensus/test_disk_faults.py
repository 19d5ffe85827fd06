"""Full and failing disks under real members: they stop or refuse, never lie, and come back when the disk does."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster
from tests.unit.qkms_node.consensus.toy_cluster import Refused, ToyCluster, ToyMember, eventually
from tests.unit.qkms_node.consensus.toy_load import REFUSED, Load, check_truth, code_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SMALL_SEGMENTS = {"segment_bytes": 4000}
COMPACTING = {"snapshot_after_entries": 20, "keep_entries": 5, "segment_bytes": 8000}
ALMOST_FULL = "free / 0 0 1000000"  # bytes; the floor is 64 MiB

# What fails, and where: once, so that a member that tried again would believe that it had stored what is lost.
FAULTS = {
    "a write finds the disk full": "write /journal/ 5 1 ENOSPC",
    "a new segment finds the disk full": "allocate /journal/ 0 1 ENOSPC",
    "a sync fails": "sync .journal 5 1 EIO",
    "the sync of a new segment fails": "sync .tmp 0 1 EIO",
    "the sync of the folder fails": "sync /data/journal$ 0 1 EIO",
}


async def the_one(cluster: ToyCluster, role: str) -> ToyMember:
    leader = await cluster.leader()
    return leader if role == "leader" else cluster.besides(leader)[0]


async def refusal_of(member: ToyMember, command: str) -> tuple[str, str]:
    """Code and text; fails when the proposal is done."""
    with pytest.raises(Refused) as caught:
        await member.propose(command, within_s=5)
    code, text = caught.value.args
    return str(code), str(text)


async def refuses(member: ToyMember) -> None:
    """Returns when the member has noticed that its disk is almost full."""

    async def noticed() -> bool:
        return await code_of(member.propose("probe", within_s=5)) == "NOT_COMMITTED"

    await eventually(noticed)


async def takes_writes(member: ToyMember, command: str) -> None:
    """Returns when the member takes writes again."""

    async def done() -> bool:
        return await code_of(member.propose(command, within_s=5)) == "OK"

    await eventually(done)


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_below_the_floor_a_member_refuses_writes_and_goes_on_reading(
    make_cluster: MakeCluster, disk_shim: Path, role: str
) -> None:
    cluster = make_cluster(shim=disk_shim)
    await cluster.start()
    low = await the_one(cluster, role)
    await low.propose("before")
    low.disk.fail(ALMOST_FULL)
    await refuses(low)
    # A leader stores for all; a follower low on space still stores what the others have committed.
    refusing = cluster.alive if role == "leader" else [low]
    for member in cluster.alive:
        if member in refusing:
            code, text = await refusal_of(member, f"refused at {member.id}")
            assert (code, "RESOURCE_EXHAUSTED" in text) == ("NOT_COMMITTED", True), text
        else:
            await member.propose(f"taken at {member.id}")
        assert await member.barrier() > 0
        assert "before" in await member.call("counts")
    process = low.pid
    low.disk.heal()
    await takes_writes(low, "after")
    await cluster.agreed()
    counts = await low.call("counts")
    assert low.pid == process
    assert counts["after"] == 1
    assert not [name for name in counts if name.startswith("refused")]


@pytest.mark.parametrize(
    ("role", "fault"),
    [
        *(("leader", fault) for fault in FAULTS),
        ("follower", "a write finds the disk full"),
        *(pytest.param("follower", fault, marks=pytest.mark.soak) for fault in [*FAULTS][1:]),
    ],
)
async def test_a_member_that_cannot_store_stops_and_comes_back_whole(
    make_cluster: MakeCluster, disk_shim: Path, role: str, fault: str
) -> None:
    cluster = make_cluster(shim=disk_shim, **SMALL_SEGMENTS)
    await cluster.start()
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=12))
    await load.acknowledged(50)
    faulty = await the_one(cluster, role)
    faulty.disk.fail(FAULTS[fault])
    code, text = await asyncio.wait_for(faulty.fatal, 20)
    assert code == "DISK_FAULT"
    assert "/data/journal" in text
    assert await code_of(faulty.propose("after the fault")) in REFUSED
    assert await code_of(faulty.barrier()) == "NO_QUORUM"
    await load.acknowledged(100)
    await faulty.stop()
    faulty.disk.heal()
    await faulty.start()
    await load.acknowledged(50)
    load.stop()
    await running
    await check_truth(cluster, load)


@pytest.mark.parametrize(
    "fault", ["a write finds the disk full", "a sync fails", "the sync of a new segment fails"]
)
async def test_a_member_alone_acknowledges_nothing_that_it_did_not_store(
    make_cluster: MakeCluster, disk_shim: Path, three_members: dict[str, str], fault: str
) -> None:
    """No other member's copy hides a lie."""
    cluster = make_cluster(addresses={"node-1": three_members["node-1"]}, shim=disk_shim, **SMALL_SEGMENTS)
    await cluster.start()
    member = cluster.members["node-1"]
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=12))
    for _ in range(4):
        await load.acknowledged(20)
        member.disk.fail(FAULTS[fault])
        assert (await asyncio.wait_for(member.fatal, 20))[0] == "DISK_FAULT"
        await member.kill()
        member.disk.heal()
        await member.start()
    load.stop()
    await running
    await check_truth(cluster, load)


async def test_a_member_does_not_start_on_a_full_disk_and_says_so(
    make_cluster: MakeCluster, disk_shim: Path
) -> None:
    cluster = make_cluster(shim=disk_shim)
    await cluster.start()
    member = cluster.alive[0]
    await member.propose("before")
    await member.kill()
    member.disk.fail("write,allocate,truncate,create / 0 0 ENOSPC")
    refused = await member.try_start()
    assert refused["failed"] == "DISK_FAULT"
    assert "/data/journal" in refused["text"]
    assert "No space left" in refused["text"]
    await member.stop()
    member.disk.heal()
    await member.start()
    await cluster.agreed()
    assert "before" in await member.call("counts")


@pytest.mark.parametrize(
    ("fault", "failures"),
    [
        ("create /snapshots/ 0 3 ENOSPC", 3),
        ("write /snapshots/ 0 6 ENOSPC", 3),  # each is tried twice, again when the file is closed
        ("sync /snapshots/ 0 3 EIO", 3),
        ("rename /snapshots/ 0 3 EIO", 3),
        ("sync /data/snapshots$ 0 3 EIO", 3),
    ],
    ids=["full at the creation", "full at a write", "sync of the file", "rename", "sync of the folder"],
)
async def test_a_snapshot_that_cannot_be_stored_is_reported_and_the_next_one_is_taken(
    make_cluster: MakeCluster, disk_shim: Path, fault: str, failures: int
) -> None:
    cluster = make_cluster(shim=disk_shim, **COMPACTING)
    await cluster.start()
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=8))
    member = await cluster.leader()
    snapshots = member.config.with_suffix("") / "data" / "snapshots"
    member.disk.fail(fault)

    async def failed() -> bool:
        return member.log().count("consensus.snapshot_failed") >= failures

    await eventually(failed)
    taken = member.log().count("consensus.snapshot_taken")

    async def recovered() -> bool:
        return member.log().count("consensus.snapshot_taken") > taken

    await eventually(recovered)
    load.stop()
    await running
    await cluster.agreed()
    assert not member.fatal.done()

    async def one_left() -> bool:
        return [path.suffix for path in snapshots.iterdir()] == [".snapshot"]

    await eventually(one_left)
    await member.kill()
    member.disk.heal()  # a new process counts anew
    await member.start()
    await check_truth(cluster, load)


@pytest.mark.parametrize(
    "fault", ["write arriving 3 1 ENOSPC", "sync arriving 0 1 EIO", "rename /snapshots/ 0 1 EIO"]
)
async def test_a_snapshot_that_arrives_and_cannot_be_stored_stops_the_member(
    make_cluster: MakeCluster, disk_shim: Path, fault: str
) -> None:
    cluster = make_cluster(shim=disk_shim, snapshot_chunk_bytes=500, **COMPACTING)
    await cluster.start()
    load = Load(cluster)
    running = asyncio.create_task(load.run(clients=8))
    away = cluster.besides(await cluster.leader())[0]
    await away.kill()
    await load.acknowledged(600)
    away.disk.fail(fault)
    await away.start()
    code, text = await asyncio.wait_for(away.fatal, 20)
    assert (code, "/data/snapshots" in text) == ("DISK_FAULT", True)
    await load.acknowledged(50)
    await away.kill()
    away.disk.heal()
    await away.start()
    load.stop()
    await running
    await check_truth(cluster, load)
    assert "snapshot_installed" in away.log()
