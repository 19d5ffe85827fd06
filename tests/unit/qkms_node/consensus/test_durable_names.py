"""Every file and folder that a member relies on has a durable name. A real process, its system calls recorded."""

from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(60)]

TINY = {"snapshot_after_entries": 10, "keep_entries": 2, "segment_bytes": 2000}


def names_at_risk(calls: list[tuple[str, Path]]) -> set[str]:
    """Names made or moved whose folder was not synced since: a power loss may take them away."""
    at_risk: set[Path] = set()
    for call, path in calls:
        if call in ("create", "rename") and path.suffix != ".tmp" and path.name != "lock":
            at_risk.add(path)
        elif call == "sync":
            at_risk = {name for name in at_risk if name.parent != path}
        elif call == "remove":
            at_risk.discard(path)
    return {path.name for path in at_risk}


async def test_a_new_members_files_survive_a_power_loss(
    make_cluster: MakeCluster, disk_shim: Path, three_members: dict[str, str]
) -> None:
    cluster = make_cluster(addresses={"node-1": three_members["node-1"]}, shim=disk_shim, **TINY)
    member = cluster.members["node-1"]
    member.disk.trace()
    await member.start()
    await member.propose("first")
    made = {path.name for call, path in member.disk.calls() if call in ("create", "rename")}
    assert {"data", "journal", "snapshots", "000000000001.journal"} <= made
    assert names_at_risk(member.disk.calls()) == set()


async def test_so_do_its_snapshots_and_later_segments(
    make_cluster: MakeCluster, disk_shim: Path, three_members: dict[str, str]
) -> None:
    cluster = make_cluster(addresses={"node-1": three_members["node-1"]}, shim=disk_shim, **TINY)
    member = cluster.members["node-1"]
    member.disk.trace()
    await member.start()
    for turn in range(60):
        await member.propose(f"command-{turn}")
    await member.stop()
    renamed = [path for call, path in member.disk.calls() if call == "rename"]
    assert {path.suffix for path in renamed} == {".journal", ".snapshot"}
    assert names_at_risk(member.disk.calls()) == set()


@pytest.mark.parametrize("calls", [1, 4, 6, 12, 15])
async def test_a_start_makes_durable_what_the_one_before_was_killed_over(
    make_cluster: MakeCluster, disk_shim: Path, three_members: dict[str, str], calls: int
) -> None:
    cluster = make_cluster(addresses={"node-1": three_members["node-1"]}, shim=disk_shim, **TINY)
    member = cluster.members["node-1"]
    member.disk.trace()
    member.disk.fail(f"any /node-1 {calls} 1 KILL")
    assert await member.try_start() == {}
    assert await member.died(within_s=5)
    assert len(member.disk.calls()) == calls
    member.disk.heal()
    await member.start()
    await member.propose("first")
    assert names_at_risk(member.disk.calls()) == set()
