"""The journal and snapshots on disk: what survives, what is cut, what is refused. Real files."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from qkms_node.consensus.engine import Limits, SyncObjReplica
from qkms_node.consensus.entries import encode_batch
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.journal_listing import list_journal
from qkms_node.consensus.segments import JournalDamaged
from qkms_node.consensus.snapshot_file import Meta, SnapshotDamaged
from qkms_node.consensus.snapshot_store import SnapshotStore

SEGMENT = 4096


def opened(folder: Path, segment_bytes: int = 1 << 20) -> DurableJournal:
    return DurableJournal(folder, "dev", "node-1", segment_bytes)


def fill(journal: DurableJournal, first: int, last: int, term: int = 1) -> None:
    for index in range(first, last + 1):
        journal.add(encode_batch(1000 + index, [b"c%d" % index]), index, term)
        journal.flush()


def entries(journal: DurableJournal) -> list[tuple[int, int]]:
    return [(index, term) for _, index, term in journal[0:]]


def segment_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def test_what_was_flushed_is_there_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.setCurrentTerm(4, "node-2")
    fill(journal, 2, 50, term=4)
    journal.setRaftCommitIndex(40)
    fill(journal, 51, 51, term=4)
    # Not closed and not flushed again: like kill -9.
    again = opened(tmp_path)
    assert entries(again) == [(1, 0), *((i, 4) for i in range(2, 52))]
    assert (again.getCurrentTerm(), again.getVotedForNodeId(), again.getRaftCommitIndex()) == (4, "node-2", 40)


def test_what_was_not_flushed_is_not_there(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 2, 3)
    journal.add(encode_batch(1, [b"unflushed"]), 4, 1)
    assert entries(opened(tmp_path))[-1] == (3, 1)


def test_a_replaced_tail_stays_replaced(tmp_path: Path) -> None:
    journal = opened(tmp_path, SEGMENT)
    fill(journal, 2, 200)
    journal.deleteEntriesFrom(149)
    fill(journal, 150, 160, term=2)
    assert len(segment_files(tmp_path)) > 2
    assert entries(opened(tmp_path, SEGMENT)) == [
        (1, 0),
        *((i, 1) for i in range(2, 150)),
        *((i, 2) for i in range(150, 161)),
    ]


def test_forgotten_entries_leave_the_disk_and_the_rest_stays(tmp_path: Path) -> None:
    journal = opened(tmp_path, SEGMENT)
    fill(journal, 2, 400)
    before = len(segment_files(tmp_path))
    journal.deleteEntriesTo(300)
    assert len(segment_files(tmp_path)) < before
    fill(journal, 401, 410)
    kept = entries(opened(tmp_path, SEGMENT))
    assert kept[-1] == (410, 1)
    assert kept[0][0] <= 301
    assert [index for index, _ in kept] == list(range(kept[0][0], 411))


@pytest.mark.parametrize("keep", range(1, 48, 7))
def test_a_torn_tail_is_cut_and_never_comes_back(tmp_path: Path, keep: int) -> None:
    journal = opened(tmp_path)
    fill(journal, 2, 10)
    path = segment_files(tmp_path)[0]
    whole = path.read_bytes().rstrip(b"\0")
    fill(journal, 11, 11)
    longer = path.read_bytes().rstrip(b"\0")
    assert len(longer) - len(whole) > keep
    path.write_bytes(longer[: len(whole) + keep] + bytes(4096))
    again = opened(tmp_path)
    assert entries(again)[-1] == (10, 1)
    assert again.torn_bytes > 0
    fill(again, 11, 12, term=3)
    assert entries(opened(tmp_path))[-2:] == [(11, 3), (12, 3)]


def test_damage_that_later_records_prove_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 2, 20)
    path = segment_files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    middle = len(bytes(data).rstrip(b"\0")) // 2
    data[middle] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(JournalDamaged) as refused:
        opened(tmp_path)
    assert str(path) in str(refused.value)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path, SEGMENT)
    fill(journal, 2, 300)
    segment_files(tmp_path)[1].unlink()
    with pytest.raises(JournalDamaged, match="missing"):
        opened(tmp_path, SEGMENT)


def test_the_journal_of_another_node_is_refused(tmp_path: Path) -> None:
    fill(opened(tmp_path), 2, 3)
    with pytest.raises(JournalDamaged, match="belongs to node node-1"):
        DurableJournal(tmp_path, "dev", "node-2", 1 << 20)


def stored(folder: Path, index: int, commands: list[bytes], term: int = 1) -> SnapshotStore:
    store = SnapshotStore(folder / "snapshots", "qkms")
    meta = Meta(cluster_id="qkms", index=index, term=term, time_ms=1000 + index)
    store.adopt(store.write(meta, commands))
    return store


class Commands:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        self.given.append(command)
        return b""

    def snapshot(self) -> Iterable[bytes]:
        return list(self.given)

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterable[object]]:
        restored = list(chunks)

        def install() -> Iterable[object]:
            self.given = restored
            return ()

        return install


def replica(authority: Any, members: dict[str, str], data: Path, machine: Commands) -> SyncObjReplica:
    return SyncObjReplica(
        "node-1",
        {"node-1": members["node-1"]},
        members["node-1"],
        authority.node("node-1"),
        data,
        machine,
        limits=Limits(),
    )


def journal_up_to(data: Path, last: int) -> None:
    journal = DurableJournal(data / "journal", "qkms", "node-1", 1 << 20)
    journal.setCurrentTerm(1, None)
    journal.newcomer.founded()
    fill(journal, 2, last)
    journal._destroy()


async def test_a_snapshot_newer_than_the_logs_start_drops_only_what_it_covers(
    authority: Any, three_members: dict[str, str], tmp_path: Path
) -> None:
    """Defect B: a crash between the snapshot and the trimming of the log must not cost the log's tail."""
    journal_up_to(tmp_path, 30)
    stored(tmp_path, 20, [b"c%d" % i for i in range(2, 21)])
    machine = Commands()
    node = replica(authority, three_members, tmp_path, machine)
    await node.start()
    await node.read_barrier(5)
    assert machine.given == [b"c%d" % i for i in range(2, 31)]
    await node.stop()


async def test_a_damaged_snapshot_stops_the_start_and_names_the_file(
    authority: Any, three_members: dict[str, str], tmp_path: Path
) -> None:
    newest = stored(tmp_path, 20, [b"x" * 500]).newest
    assert newest is not None
    data = bytearray(newest.path.read_bytes())
    data[len(data) // 2] ^= 1
    newest.path.write_bytes(bytes(data))
    with pytest.raises(SnapshotDamaged) as refused:
        await replica(authority, three_members, tmp_path, Commands()).start()
    assert str(newest.path) in str(refused.value)


def test_the_listing_shows_what_is_there_and_changes_nothing(tmp_path: Path) -> None:
    assert list(list_journal(tmp_path)) == []
    journal_up_to(tmp_path, 30)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    listed = "\n".join(list_journal(tmp_path))
    assert "node node-1" in listed
    assert "index 30, term 1" in listed
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
