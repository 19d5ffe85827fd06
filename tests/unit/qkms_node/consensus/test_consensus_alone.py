"""A cluster of one member: it is its own majority, and needs nobody's answer to go on."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qkms_node.consensus.engine import SyncObjReplica, Timing
from qkms_node.consensus.replica import Role

# So long that a commit which waited for a heartbeat or a barrier of its own would miss its deadline.
SLOW = Timing(
    election_timeout_min_s=0.2,
    election_timeout_max_s=0.3,
    heartbeat_s=0.06,
    leader_fallback_s=0.3,
    background_barrier_s=30.0,
)


class Counter:
    """Counts what it was given."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        self.count += 1
        return str(self.count).encode()

    def snapshot(self) -> Iterable[bytes]:
        return [str(self.count).encode()]

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterable[object]]:
        count = int(b"".join(chunks))

        def install() -> Iterable[object]:
            self.count = count
            return ()

        return install


def alone(authority: Any, members: dict[str, str], folder: Path, machine: Counter) -> SyncObjReplica:
    return SyncObjReplica(
        node_id="node-1",
        members={"node-1": members["node-1"]},
        listen=members["node-1"],
        tls=authority.node("node-1"),
        data_dir=folder,
        state_machine=machine,
        timing=SLOW,
    )


async def test_a_lone_member_writes_reads_and_remembers(
    authority: Any, three_members: dict[str, str], tmp_path: Path
) -> None:
    first = alone(authority, three_members, tmp_path / "data", Counter())
    await first.start()
    assert await first.propose(b"one", 5) == b"1"
    assert first.status().role is Role.LEADER
    await first.stop()

    machine = Counter()
    second = alone(authority, three_members, tmp_path / "data", machine)
    await second.start()
    assert await second.propose(b"two", 5) == b"2"
    assert await second.read_barrier(5) == second.status().applied_index
    assert machine.count == 2
    await second.stop()


async def test_a_lone_member_commits_without_waiting_for_a_timer(
    authority: Any, three_members: dict[str, str], tmp_path: Path
) -> None:
    replica = alone(authority, three_members, tmp_path / "data", Counter())
    await replica.start()
    await replica.propose(b"elected", 5)
    raft_ticks = 0
    assert replica._thread is not None
    publish = replica._thread._publish

    def count_ticks(raft: Any) -> None:
        nonlocal raft_ticks
        raft_ticks += 1
        waiting = raft.core.commit_index < raft.core.last_index
        waits.append((waiting, raft._Raft__next_wait()))
        publish(raft)

    waits: list[tuple[bool, float]] = []
    replica._thread._publish = count_ticks  # type: ignore[method-assign]
    await replica.propose(b"more", 5)
    await replica.stop()
    assert [wait for waiting, wait in waits if waiting], "an entry was never seen uncommitted"
    assert all(wait == 0 for waiting, wait in waits if waiting)


async def test_an_answer_is_covered_by_the_status_that_follows_it(
    authority: Any, three_members: dict[str, str], tmp_path: Path
) -> None:
    replica = alone(authority, three_members, tmp_path / "data", Counter())
    await replica.start()
    for number in range(1, 200):
        assert await replica.propose(b"x", 5) == str(number).encode()
        # The first two entries are the log's beginning and the no-op of the leader.
        assert replica.status().applied_index >= number + 2
    await replica.stop()
