"""A snapshot that arrives: resumed where it broke off, installed while its leader is answered."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.test_consensus_rules import Member, entry
from tests.unit.qkms_node.consensus.test_consensus_world import (  # noqa: F401
    MakeWorld,
    leader_of,
    make_world,
    others,
    term_of,
    write,
)
from tests.unit.qkms_node.consensus.world_parts import History, Machine

from qkms_node.consensus import snapshots
from qkms_node.consensus.files import DiskFault
from qkms_node.consensus.messages import Append, AppendAnswer, SnapshotAnswer, SnapshotChunk
from qkms_node.consensus.replica import Role
from qkms_node.consensus.snapshot_file import Meta, SnapshotFile
from qkms_node.consensus.snapshot_store import Offer, SnapshotStore

PART = 100


def made(folder: Path, history: History, last: int) -> SnapshotFile:
    """A leader's snapshot of its entries of term 1 up to index `last`."""
    machine = Machine(history)
    for index in range(2, last + 1):
        machine.apply(index, index, f"{index}-1".encode())
    meta = Meta(cluster_id="world", index=last, term=1, time_ms=last)
    return SnapshotStore(folder / "leader", "world").write(meta, machine.snapshot())


def chunks(file: SnapshotFile, size: int = PART) -> list[SnapshotChunk]:
    data, meta = file.path.read_bytes(), file.meta
    return [
        SnapshotChunk(1, meta.index, meta.term, file.size, file.digest, at, data[at : at + size])
        for at in range(0, file.size, size)
    ]


def receive(member: Member, messages: Iterable[object]) -> None:
    """From n2, which leads term 1."""
    for message in messages:
        member.raft.receive("n2", message)  # type: ignore[arg-type]
        member.raft.tick()


def answers(member: Member) -> list[SnapshotAnswer]:
    return [message for _, message in member.sent if isinstance(message, SnapshotAnswer)]


def arriving(folder: Path, last: int = 20) -> tuple[Member, list[Callable[[], None]]]:
    """A member to which a snapshot has come whole, and the work that is to install it."""
    history = History()
    member = Member(folder, history=history)
    jobs: list[Callable[[], None]] = []
    member.jobs = jobs
    receive(member, chunks(made(folder, history, last)))
    assert len(jobs) == 1
    return member, jobs


def test_a_member_answers_its_leader_while_it_installs(tmp_path: Path) -> None:
    member, jobs = arriving(tmp_path)
    member.sent.clear()
    receive(member, [Append(1, 7, 20, 1, 20, [])])
    assert member.last(AppendAnswer) == AppendAnswer(1, 7, False, 1)
    assert not any(answer.installed for answer in answers(member))
    jobs.pop(0)()
    member.raft.tick()
    assert answers(member)[-1].installed
    assert member.raft.core.applied_index == 20
    assert member.machine.count == 19


def test_a_log_that_came_further_than_the_snapshot_stays(tmp_path: Path) -> None:
    """The next leader still has the entries: what they made must not be put back."""
    member, jobs = arriving(tmp_path)
    receive(member, [Append(1, 7, 1, 0, 30, [entry(index, 1) for index in range(2, 31)])])
    assert member.raft.core.applied_index == 30
    while jobs:
        jobs.pop(0)()
        assert (member.raft.core.applied_index, member.machine.count) == (30, 29)
        member.raft.tick()
    assert answers(member)[-1].installed


def test_entries_behind_the_snapshot_are_kept(tmp_path: Path) -> None:
    member, jobs = arriving(tmp_path)
    receive(member, [Append(1, 7, 1, 0, 10, [entry(index, 1) for index in range(2, 31)])])
    assert member.raft.core.applied_index == 10
    jobs.pop(0)()
    receive(member, [Append(1, 8, 30, 1, 30, [])])
    assert (member.raft.core.last_index, member.raft.core.applied_index) == (30, 30)


def test_chunks_that_come_meanwhile_do_not_touch_what_is_installed(tmp_path: Path) -> None:
    member, jobs = arriving(tmp_path)
    other = made(tmp_path / "other", History(), 25)
    receive(member, chunks(other))
    jobs.pop(0)()
    member.raft.tick()
    assert member.raft.core.applied_index == 20
    again = Member(tmp_path, history=member.machine.history)
    assert again.raft.core.applied_index == 20


def test_what_cannot_be_restored_stops_the_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member, jobs = arriving(tmp_path)

    def refuse(self: Machine, chunks: Iterable[bytes]) -> object:
        raise ValueError("of another version")

    monkeypatch.setattr(Machine, "restore", refuse)
    jobs.pop(0)()
    with pytest.raises(ValueError, match="of another version"):
        member.raft.tick()


def test_older_files_go_once_a_snapshot_is_installed(tmp_path: Path) -> None:
    history = History()
    SnapshotStore(tmp_path / "snapshots", "world").write(
        Meta(cluster_id="world", index=5, term=1, time_ms=0), Machine(history).snapshot()
    )
    member = Member(tmp_path, history=history)
    receive(member, chunks(made(tmp_path, history, 20)))
    assert [path.name[:20] for path in (tmp_path / "snapshots").iterdir()] == [f"{20:020d}"]


def test_what_arrives_is_synced_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SYNC_BYTES", 3 * PART)
    history = History()
    file = made(tmp_path, history, 20)
    member = Member(tmp_path, history=history)
    member.jobs = jobs = list[Callable[[], None]]()
    *parts, last = chunks(file)
    synced: list[int] = []
    for part in parts:
        receive(member, [part])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", lambda number: synced.append(os.fstat(number).st_size))
            while jobs:
                jobs.pop(0)()
    assert synced == list(range(3 * PART, file.size, 3 * PART))
    receive(member, [last])
    jobs.pop(0)()
    assert member.raft.core.applied_index == 20


def test_a_sync_that_fails_on_the_way_stops_the_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped what it could not write: a later sync that succeeds would lie."""
    monkeypatch.setattr(snapshots, "SYNC_BYTES", 3 * PART)
    history = History()
    member = Member(tmp_path, history=history)
    member.jobs = jobs = list[Callable[[], None]]()
    receive(member, chunks(made(tmp_path, history, 20))[:4])

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        jobs.pop(0)()
    with pytest.raises(DiskFault, match="cannot store a snapshot"):
        member.raft.tick()


# Transfers that break off.


def offer_of(file: SnapshotFile) -> Offer:
    return Offer(file.meta.index, file.meta.term, file.size, file.digest)


def is_whole(store: SnapshotStore, file: SnapshotFile) -> bool:
    """Whether what arrived is `file`."""
    reader = store.complete()
    return reader is not None and reader.finish().digest == file.digest


@pytest.mark.parametrize("restarted", [False, True])
def test_a_broken_transfer_goes_on_where_it_was(tmp_path: Path, restarted: bool) -> None:
    file = made(tmp_path, History(), 20)
    parts, offer = chunks(file), offer_of(file)
    store = SnapshotStore(tmp_path / "snapshots", "world")
    half = len(parts) // 2
    for part in parts[:half]:
        store.receive(offer, part.offset, part.data)
    if restarted:
        store = SnapshotStore(tmp_path / "snapshots", "world")
    assert store.receive(offer, 0, parts[0].data) == half * PART
    for part in parts[half:]:
        held = store.receive(offer, part.offset, part.data)
    assert held == file.size
    assert is_whole(store, file)


def test_a_part_that_was_lost_with_the_power_is_found_and_sent_again(tmp_path: Path) -> None:
    file = made(tmp_path, History(), 20)
    parts, offer = chunks(file), offer_of(file)
    store = SnapshotStore(tmp_path / "snapshots", "world")
    for part in parts[:3]:
        store.receive(offer, part.offset, part.data)
    (path,) = (tmp_path / "snapshots").glob("*.arriving")
    path.write_bytes(bytes(3 * PART))
    store = SnapshotStore(tmp_path / "snapshots", "world")
    for part in parts:
        store.receive(offer, part.offset, part.data)
    assert store.complete() is None
    assert list((tmp_path / "snapshots").iterdir()) == []
    for part in parts:
        store.receive(offer, part.offset, part.data)
    assert is_whole(store, file)


def test_another_snapshot_is_not_mixed_with_what_arrived_before(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a", History(), 20), made(tmp_path / "b", History(), 22)
    store = SnapshotStore(tmp_path / "snapshots", "world")
    store.receive(offer_of(one), 0, chunks(one)[0].data)
    store = SnapshotStore(tmp_path / "snapshots", "world")
    for part in chunks(other):
        store.receive(offer_of(other), part.offset, part.data)
    assert len(list((tmp_path / "snapshots").iterdir())) == 1
    assert is_whole(store, other)


def test_a_cut_in_the_middle_does_not_send_the_snapshot_again(make_world: MakeWorld) -> None:  # noqa: F811
    world = make_world()
    leader = leader_of(world)
    away = others(world, leader)[0]
    world.crash(away)
    write(world, leader, 60)
    world.start(away)
    assert world.run(20, until=lambda: len(world.sent_chunks) >= 4)
    world.cut({away}, set(others(world, away)))
    world.run(1)
    sent = world.sent_chunks[-1]
    assert sent.offset < sent.size - len(sent.data), "the transfer was over before the cut"
    world.heal()
    assert world.run(20, until=lambda: _installed(world.reports, away))
    again = [chunk for chunk in world.sent_chunks if chunk.digest == sent.digest]
    assert sum(len(chunk.data) for chunk in again) < sent.size + 4 * world.limits.snapshot_chunk_bytes


def test_a_leader_keeps_its_majority_while_a_follower_installs(make_world: MakeWorld) -> None:  # noqa: F811
    world = make_world()
    leader = leader_of(world)
    away, third = others(world, leader)
    world.crash(away)
    write(world, leader, 60)
    world.job_s = 30
    world.start(away)
    assert world.run(20, until=lambda: any(n == away and e.endswith("arrived") for n, e, _ in world.reports))
    world.crash(third)
    term, begun = term_of(world, leader), world.now
    raft = world.nodes[leader].raft
    assert raft is not None
    assert world.run(60, until=lambda: _installed(world.reports, away) or raft.core.role is not Role.LEADER)
    assert world.now - begun > 2, "it was installed too soon to tell"
    assert (raft.core.role, term_of(world, away)) == (Role.LEADER, term)
    world.job_s = 0.1
    write(world, leader, 3)
    world.settle()


def _installed(reports: list[tuple[str, str, dict[str, object]]], name: str) -> bool:
    return any(node == name and event == "consensus.snapshot_installed" for node, event, _ in reports)
