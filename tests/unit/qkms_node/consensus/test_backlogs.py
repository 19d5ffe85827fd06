"""A member that the network kept away catches up, through the log or by a snapshot, in bounded time and memory."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.conftest import MakeCluster
from tests.unit.qkms_node.consensus.toy_cluster import ToyMember, eventually

from relays import Relays

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

MB = 1_000_000
NO_COMPACTION = {"snapshot_after_entries": 1 << 40, "snapshot_after_bytes": 1 << 40}
COMPACTION = {"snapshot_after_bytes": 30 * MB, "keep_entries": 10}
# What the log may hold beside the newest snapshot, once that is written: the entries of one more round.
TAIL_BYTES = 31 * MB
CATCH_UP_S = 60.0
# The sender's windows and buffers (2 and 8 MiB), or one chunk of a snapshot: whatever the backlog is.
SENDER_BYTES = 16 * MB
# Who catches up holds the backlog once, as log or as state, and what is under way.
RECEIVER_BYTES = 32 * MB


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Hundreds of megabytes of journals are not kept for after the test."""
    yield
    for folder in tmp_path.glob("node-*/data"):
        shutil.rmtree(folder)


def memory(member: ToyMember, field: str) -> int:
    """VmRSS or VmHWM (the peak) of the process, in bytes."""
    lines = Path(f"/proc/{member.pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def forget_peak(member: ToyMember) -> None:
    Path(f"/proc/{member.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize(
    ("name", "commands", "size", "reset", "limits"),
    [
        ("log", 3_000, 1_000, False, NO_COMPACTION),
        ("log", 12_500, 8_000, True, NO_COMPACTION),
        ("kept", 12_500, 8_000, True, COMPACTION),
    ],
    ids=["3,000 x 1 KB through the log", "100 MB through the log", "100 MB by a snapshot"],
)
async def test_a_member_catches_up(
    tmp_path: Path,
    make_cluster: MakeCluster,
    relays: Relays,
    name: str,
    commands: int,
    size: int,
    reset: bool,
    limits: dict[str, int],
) -> None:
    cluster = make_cluster(relays=relays, **limits)
    await cluster.start()
    leader = await cluster.leader()
    away = cluster.besides(leader)[0]
    relays.cut_off(away.id)
    what = {"name": name, "commands": commands, "size": size}
    assert await leader.call("fill", what=what) == commands
    goal = (await leader.status())["applied"]
    assert (await away.status())["applied"] < goal / 10

    async def compacted() -> bool:
        """While one is being written, another follows, which is installed beside the state of the first."""
        taken = [int(p.name.partition("-")[0]) for p in (tmp_path / leader.id / "data").rglob("*.snapshot")]
        return bool((goal - max(taken, default=0)) / goal * commands * size < TAIL_BYTES)

    if limits is COMPACTION:
        await eventually(compacted, seconds=CATCH_UP_S)
    before = {member: memory(member, "VmRSS") for member in (leader, away)}
    for member in before:
        forget_peak(member)

    relays.heal(reset=reset)

    async def caught_up() -> bool:
        return bool((await away.status())["applied"] >= goal)

    await eventually(caught_up, seconds=CATCH_UP_S)
    assert memory(leader, "VmHWM") - before[leader] < SENDER_BYTES
    assert memory(away, "VmHWM") - before[away] < 1.2 * commands * size + RECEIVER_BYTES
    await cluster.agreed()
    assert await away.call("counts") == await leader.call("counts")
    assert await away.call("kept") == await leader.call("kept")
    assert ("snapshot_installed" in away.log()) is (limits is COMPACTION)
