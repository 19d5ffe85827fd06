"""A leader that is cut off takes writes that can never commit, while the majority goes on and compacts its log.

Defect A of PySyncObj, on real processes: there the deposed leader, healed, commits
its own tail and says that it succeeded, and then a snapshot erases it.
"""

import asyncio

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster
from tests.unit.qkms_node.consensus.toy_cluster import ToyCluster, ToyMember, eventually
from tests.unit.qkms_node.consensus.toy_load import REFUSED, Load, check_truth, code_of

from relays import Relays

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SNAPSHOTS = {
    "snapshot_after_entries": 40,
    "keep_entries": 5,
    "snapshot_chunk_bytes": 1000,
    "segment_bytes": 20_000,
}
# One entry for each few commands, and any number of them without an acknowledgement.
LONG_TAILS = {"entry_bytes": 60, "entries_in_flight": 10_000, "window_messages": 10_000}
NOTICES_LATE = {"leader_fallback_s": 2.0}  # time for a cut-off leader to take writes into its log
WITHIN_S = 1.5
ROUNDS = 4


async def cut_off_leader(cluster: ToyCluster, relays: Relays, name: str) -> ToyMember:
    """A leader that is cut off and takes writes still; another one where this one was deposed before."""
    for attempt in range(10):
        leader = await cluster.leader()
        relays.cut_off(leader.id)
        scout = f"{name}-scout-{attempt}"
        if await code_of(leader.propose(scout, within_s=0.1)) == "OUTCOME_UNKNOWN":
            return leader
        relays.heal(reset=False)
    raise AssertionError("every leader was deposed before it was cut off")


async def successor_of(leader: ToyMember, cluster: ToyCluster) -> ToyMember:
    """Whom the others follow."""

    async def found() -> ToyMember | None:
        leaders = {(await member.status())["leader"] for member in cluster.besides(leader)}
        return None if leaders & {None, leader.id} or len(leaders) > 1 else cluster.members[leaders.pop()]

    return await eventually(found)


def events(member: ToyMember, event: str) -> int:
    return member.log().count(event)


def holds_on_disk(member: ToyMember, command: str) -> bool:
    """Whether the journal has, or had, an entry with the command."""
    segments = member.config.with_suffix("").glob("data/journal/*.journal")
    return any(command.encode() in segment.read_bytes() for segment in segments)


@pytest.mark.parametrize(
    ("minority", "majority", "limits"),
    [(60, 400, {}), (1500, 400, LONG_TAILS)],
    ids=["a tail shorter than what the majority commits", "a longer tail"],
)
async def test_a_cut_off_leader_acknowledges_nothing_and_the_majority_loses_nothing(
    make_cluster: MakeCluster, relays: Relays, minority: int, majority: int, limits: dict[str, int]
) -> None:
    cluster = make_cluster(relays=relays, timing=NOTICES_LATE, **SNAPSHOTS, **limits)
    await cluster.start()
    acknowledged: set[str] = set()
    refused: set[str] = set()
    for turn in range(ROUNDS):
        leader = await cut_off_leader(cluster, relays, f"doomed-{turn}")
        installed = events(leader, "snapshot_installed")
        doomed = [f"doomed-{turn}-{n}" for n in range(minority)]
        patient = [f"patient-{turn}-{n}" for n in range(20)]  # still wait when the network is whole again
        ends = asyncio.gather(*(code_of(leader.propose(name, WITHIN_S)) for name in doomed))
        late_ends = asyncio.gather(*(code_of(leader.propose(name, 100)) for name in patient))
        successor = await successor_of(leader, cluster)
        taken = events(successor, "snapshot_taken")
        names = [f"majority-{turn}-{n}" for n in range(majority)]
        for start in range(0, majority, 4):
            await asyncio.gather(*(successor.propose(name) for name in names[start : start + 4]))
        acknowledged.update(names)
        assert events(successor, "snapshot_taken") > taken

        assert holds_on_disk(leader, doomed[0])
        endings = dict(zip(doomed, await ends, strict=True))
        assert set(endings.values()) <= {"OUTCOME_UNKNOWN", *REFUSED}
        assert endings[doomed[0]] == "OUTCOME_UNKNOWN"
        relays.heal(reset=turn % 2 == 1)
        for name, ending in zip(patient, await asyncio.wait_for(late_ends, 20), strict=True):
            (acknowledged if ending == "OK" else refused if ending in REFUSED else set()).add(name)
        await cluster.agreed()
        assert events(leader, "snapshot_installed") > installed
    for member in cluster.members.values():
        counts = await member.call("counts")
        assert [name for name in acknowledged if counts.get(name) != 1] == []
        assert [name for name in counts if name.startswith("doomed") or name in refused] == []
        assert set(counts.values()) == {1}


async def test_a_leader_that_is_not_heard_any_more_tells_the_truth(
    make_cluster: MakeCluster, relays: Relays
) -> None:
    """One direction only: it hears its successor, and what it sends may arrive when all is over."""
    cluster = make_cluster(relays=relays, timing=NOTICES_LATE, **SNAPSHOTS)
    await cluster.start()
    load = Load(cluster, within_s=0.5)
    running = asyncio.create_task(load.run(clients=24))
    for turn in range(ROUNDS):
        await load.acknowledged(50)
        leader = await cluster.leader()
        relays.silence(leader.id)
        await successor_of(leader, cluster)
        await load.acknowledged(100)
        relays.heal(reset=turn % 2 == 1)
    load.stop()
    await running
    await check_truth(cluster, load)
    assert load.endings["OUTCOME_UNKNOWN"]
