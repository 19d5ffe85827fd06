"""Members join, are promoted and leave while real processes work; restarts find what the log says."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.conftest import Authority, MakeCluster
from tests.unit.qkms_node.consensus.toy_cluster import Refused, ToyCluster, ToyMember, eventually

from qkms_chaos.cluster.ports import free_ports

pytestmark = pytest.mark.timeout(120)


def joiner(cluster: ToyCluster, authority: Authority, tmp_path: Path, node_id: str) -> tuple[ToyMember, str]:
    """A member that is not started yet, configured to wait at its address; it knows the first three."""
    settings = json.loads(next(iter(cluster.members.values())).config.read_text())
    address = f"127.0.0.1:{free_ports(1)[0]}"
    tls = authority.node(node_id)
    settings |= {
        "node_id": node_id,
        "listen": address,
        "tls": [str(tls.ca), str(tls.certificate), str(tls.private_key)],
        "data_dir": str(tmp_path / node_id),
        "joining": True,
    }
    config = tmp_path / f"{node_id}.json"
    config.write_text(json.dumps(settings))
    member = cluster.members[node_id] = ToyMember(config, node_id)
    return member, address


class Load:
    """Distinct commands at every member that is there, until stopped; counts what was acknowledged."""

    def __init__(self, cluster: ToyCluster) -> None:
        self._cluster = cluster
        self._stopped = False
        self.acknowledged: list[str] = []
        self._tasks = [asyncio.create_task(self._drive(name)) for name in ("x", "y", "z")]

    async def _drive(self, name: str) -> None:
        number = 0
        while not self._stopped:
            members = self._cluster.alive
            number += 1
            command = f"{name}{number}"
            try:
                await members[number % len(members)].propose(command, within_s=1)
            except Refused:
                await asyncio.sleep(0.01)
            else:
                self.acknowledged.append(command)

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)


async def test_members_are_replaced_one_by_one_under_load(
    make_cluster: MakeCluster, authority: Authority, tmp_path: Path
) -> None:
    """New machines take the places of all old ones; nothing acknowledged is lost, restarts included."""
    cluster = make_cluster(snapshot_after_entries=50, keep_entries=10)
    await cluster.start()
    load = Load(cluster)
    old = list(cluster.members)
    for number, leaving in enumerate(old, start=4):
        new, address = joiner(cluster, authority, tmp_path, f"node-{number}")
        leader = await cluster.leader()
        await new.start()
        asked = next(member for member in cluster.alive if member not in (new, leader))
        await asked.change("add_learner", new.id, address)
        await asked.change("promote", new.id)
        leader = await cluster.leader()
        if leader.id == leaving:
            await leader.call("transfer", target=new.id, within_s=5)
        await new.change("remove", leaving)
        gone = cluster.members.pop(leaving)
        await gone.stop()
    await load.stop()
    status = await cluster.agreed()
    assert status["voters"] == sorted(cluster.members) == ["node-4", "node-5", "node-6"]
    for member in cluster.alive:
        await member.kill()
    # Their configuration files still name the first three members, whom nobody can reach any more.
    await asyncio.gather(*(member.start() for member in cluster.members.values()))
    assert (await cluster.agreed())["voters"] == status["voters"]
    counts = await cluster.alive[0].call("counts")
    assert len(load.acknowledged) > 30
    assert {counts[command] for command in load.acknowledged} == {1}


async def test_a_learner_follows_and_serves_reads_and_does_not_count(
    make_cluster: MakeCluster, authority: Authority, tmp_path: Path
) -> None:
    cluster = make_cluster()
    await cluster.start()
    learner, address = joiner(cluster, authority, tmp_path, "node-4")
    leader = await cluster.leader()
    await learner.start()
    await leader.change("add_learner", "node-4", address)
    assert await learner.propose("at the learner") == "at the learner:1"
    assert await learner.barrier() <= (await learner.status())["applied"]
    voters = [cluster.members[f"node-{n}"] for n in (1, 2, 3)]
    for member in voters:
        if member is not leader:
            await member.kill()
    with pytest.raises(Refused):
        await learner.propose("of two members only one votes", within_s=2)
    with pytest.raises(Refused, match="NO_QUORUM"):
        await learner.barrier(within_s=1)


async def test_a_removed_member_is_not_let_in_again_and_disturbs_nobody(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    await cluster.start()
    leader = await cluster.leader()
    removed = next(member for member in cluster.alive if member is not leader)
    assert await leader.change("remove", removed.id) == sorted(m.id for m in cluster.alive if m is not removed)
    del cluster.members[removed.id]
    term = (await leader.status())["term"]

    async def alone() -> bool:
        return not (await removed.status())["connected"]

    await eventually(alone)
    with pytest.raises(Refused):
        await removed.propose("nobody listens", within_s=1)
    await removed.kill()
    await removed.start()
    await asyncio.sleep(1)  # several election timeouts
    assert (await leader.status())["term"] == term
    assert await leader.propose("on it goes") == "on it goes:1"
    await removed.kill()


async def test_a_member_that_waits_to_join_founds_nothing(
    make_cluster: MakeCluster, authority: Authority, tmp_path: Path
) -> None:
    cluster = make_cluster()
    waiting, _ = joiner(cluster, authority, tmp_path, "node-4")
    await waiting.start()
    await asyncio.sleep(1)  # several election timeouts
    status = await waiting.status()
    assert (status["term"], status["leader"], status["voters"]) == (0, None, [])
    with pytest.raises(Refused):
        await waiting.propose("too early", within_s=0.5)


async def test_two_of_three_members_found_no_cluster(make_cluster: MakeCluster) -> None:
    """Were two enough, two members that lost their disks would found a second cluster beside the third."""
    cluster = make_cluster()
    *two, third = cluster.members.values()
    for member in two:
        await member.start()
    await asyncio.sleep(1.5)  # several election timeouts
    assert {(await member.status())["leader"] for member in two} == {None}
    await third.start()
    await cluster.agreed()
