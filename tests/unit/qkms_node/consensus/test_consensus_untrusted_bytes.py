"""Nothing on disk or wire becomes an object of Python: pickles do not run, garbage is refused by name."""

import ast
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qkms_node
import qkms_qkd
from qkms_node.consensus import journal_records as records
from qkms_node.consensus.entries import (
    BATCH,
    CONFIGURATION,
    EntryUnreadable,
    decode_batch,
    decode_configuration,
    encode_batch,
)
from qkms_node.consensus.frames import FrameReader, FrameRejected, frame
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.journal_records import PAIR
from qkms_node.consensus.messages import Hello
from qkms_node.consensus.segments import JournalDamaged
from qkms_node.consensus.snapshot_file import Meta, SnapshotDamaged, SnapshotReader, write_snapshot
from qkms_node.consensus.snapshot_store import SnapshotStore

ARBITRARY_CODE = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
PRODUCT = [Path(package.__path__[0]) for package in (qkms_node, qkms_qkd)]
MAGICS = [records.MAGIC, b"QKMSNAP1", b"\x80\x04", BATCH, CONFIGURATION]
garbage = st.lists(st.binary(max_size=60) | st.sampled_from(MAGICS), max_size=8).map(b"".join)
fuzzed = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class Trap:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._target),)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """There only when a trap was sprung."""
    return tmp_path / "sprung"


@pytest.fixture
def trap(sprung: Path) -> bytes:
    return pickle.dumps(Trap(sprung))


def test_no_module_of_the_server_imports_what_runs_code_from_bytes() -> None:
    found = []
    for path in (path for folder in PRODUCT for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if ARBITRARY_CODE & {part for name in names for part in name.split(".")}:
                found.append(f"{path}: {names}")
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"eval", "exec"}:
                found.append(f"{path}:{node.lineno}")
    assert found == []


def test_a_trap_springs_where_pickles_are_loaded(trap: bytes, sprung: Path) -> None:
    """So that the tests below can fail."""
    pickle.loads(trap)  # noqa: S301
    assert sprung.exists()


def test_a_pickle_in_place_of_a_segment_is_refused(tmp_path: Path, trap: bytes, sprung: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "000000000001.journal").write_bytes(trap)
    with pytest.raises(JournalDamaged, match="000000000001"):
        DurableJournal(folder, "c", "n1", 10_000)
    assert not sprung.exists()


@pytest.mark.parametrize("kind", [BATCH, CONFIGURATION, b"\x07"], ids=["batch", "configuration", "later"])
def test_a_pickle_in_a_valid_record_is_refused_by_its_index(
    tmp_path: Path, trap: bytes, sprung: Path, kind: bytes
) -> None:
    journal = DurableJournal(tmp_path / "journal", "c", "n1", 10_000)
    journal.add(kind + trap, 2, 1)
    journal.flush()
    journal._destroy()
    entry = DurableJournal(tmp_path / "journal", "c", "n1", 10_000)[1]
    with pytest.raises(EntryUnreadable, match="entry 2"):
        (decode_configuration if kind == CONFIGURATION else decode_batch)(entry)
    assert not sprung.exists()


def test_a_pickle_in_place_of_a_snapshot_is_refused(tmp_path: Path, trap: bytes, sprung: Path) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    (folder / f"{7:020d}-{1:020d}.snapshot").write_bytes(trap)
    with pytest.raises(SnapshotDamaged):
        SnapshotStore(folder, "c").open_newest()
    assert not sprung.exists()


def test_a_pickle_in_a_frame_is_refused(trap: bytes, sprung: Path) -> None:
    reader = FrameReader(100_000)
    reader.feed(frame(Hello("c", "n1", "n2")))
    with pytest.raises(FrameRejected):
        reader.feed((len(trap) + 1).to_bytes(4, "big") + b"\x01" + trap)
    assert not sprung.exists()


@fuzzed
@given(garbage, garbage)
def test_any_bytes_are_frames_or_are_refused(first: bytes, then: bytes) -> None:
    reader = FrameReader(4096)
    with suppress(FrameRejected):
        reader.feed(first)
        reader.feed(frame(Hello("c", "n1", "n2")) + then)


@fuzzed
@given(garbage)
def test_any_bytes_are_an_entry_or_are_refused(command: bytes) -> None:
    for decode in (decode_batch, decode_configuration):
        with suppress(EntryUnreadable):
            decode((command, 2, 1))


@fuzzed
@given(st.binary(max_size=400), st.integers(0, 600), st.booleans())
def test_any_damage_to_a_journal_is_cut_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: bool
) -> None:
    """What is read back is a prefix of what was written: never something else."""
    folder = tmp_path_factory.mktemp("journal")
    journal = DurableJournal(folder, "c", "n1", 1_000)
    written = [encode_batch(index, [b"command"]) for index in range(2, 12)]
    for index, command in enumerate(written, start=2):
        journal.add(command, index, 1)
        journal.flush()
    journal._destroy()
    path = max(folder.glob("*.journal"))
    data = path.read_bytes()
    path.write_bytes(data[:at] + noise + (b"" if cut else data[at + len(noise) :]))
    with suppress(JournalDamaged):
        reopened = DurableJournal(folder, "c", "n1", 1_000)
        held = [command for command, _, _ in reopened[1:]]
        assert held == written[: len(held)]
        reopened._destroy()


@fuzzed
@given(st.binary(min_size=1, max_size=200), st.integers(0, 400))
def test_any_damage_to_a_snapshot_is_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("snapshots") / "one.snapshot"
    chunks = [b"%d" % number * 20 for number in range(12)]
    write_snapshot(path, Meta(cluster_id="c", index=7, term=1, time_ms=0), chunks)
    data = path.read_bytes()
    damaged = data[:at] + noise + data[at + len(noise) :]
    path.write_bytes(damaged)
    with suppress(SnapshotDamaged):
        reader = SnapshotReader(path)
        found = list(reader.chunks())
        reader.finish()
        assert found == chunks
        assert damaged.startswith(data)  # bytes after the end block are not looked at


def test_an_entry_record_shorter_than_its_header_is_refused(tmp_path: Path) -> None:
    journal = DurableJournal(tmp_path, "c", "n1", 10_000)
    journal.flush()
    journal._put(records.ENTRY, PAIR.pack(2, 1)[:7])
    journal.flush()
    journal._destroy()
    with pytest.raises(JournalDamaged):
        DurableJournal(tmp_path, "c", "n1", 10_000)
