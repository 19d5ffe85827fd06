"""What a member has on disk, read without changing anything and without its process.

For an operator who wants to know what a data directory holds before starting
a node on it, or after one refused to start. Reads the journal and vouches for
every snapshot, but applies nothing; contents of commands are never shown.
"""

from dataclasses import dataclass
from pathlib import Path

from qkms_node.consensus.replay import replay
from qkms_node.consensus.segments import read_segments
from qkms_node.consensus.snapshot_file import SnapshotReader


@dataclass(frozen=True)
class SnapshotView:
    """One intact snapshot file; `size` in bytes."""

    path: Path
    cluster_id: str
    index: int
    term: int
    size: int


@dataclass(frozen=True)
class JournalView:
    """The journal as a start would replay it.

    Entries `first_index` to `last_index` are held (none when last is before first);
    `commit_index` is the hint on disk; `torn_bytes` would be cut, never acknowledged.
    """

    cluster_id: str
    node_id: str
    segments: int
    term: int
    voted_for: str | None
    first_index: int
    last_index: int
    last_term: int
    commit_index: int
    torn_bytes: int


@dataclass(frozen=True)
class Inspection:
    """`journal` is None where there is none yet. `snapshots`: oldest first."""

    journal: JournalView | None
    snapshots: list[SnapshotView]


def inspect(data_dir: Path) -> Inspection:
    """Reads a replica's `data_dir`. Raises JournalDamaged or SnapshotDamaged, naming the file."""
    return Inspection(_journal(data_dir / "journal"), _snapshots(data_dir / "snapshots"))


def _journal(folder: Path) -> JournalView | None:
    loaded = read_segments(folder)
    if not loaded:
        return None
    state = replay(loaded)
    head = loaded[0].head
    _, last_index, last_term = state.entries[-1]
    return JournalView(
        cluster_id=head.cluster_id,
        node_id=head.node_id,
        segments=len(loaded),
        term=state.term,
        voted_for=state.voted_for,
        first_index=state.entries[0][1] + 1,
        last_index=last_index,
        last_term=last_term,
        commit_index=min(state.commit_index, last_index),
        torn_bytes=loaded[-1].torn,
    )


def _snapshots(folder: Path) -> list[SnapshotView]:
    views = []
    for path in sorted(folder.glob("*.snapshot")):
        file = SnapshotReader(path).finish()
        views.append(SnapshotView(path, file.meta.cluster_id, file.meta.index, file.meta.term, file.size))
    return views
