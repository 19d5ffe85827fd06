"""The durable log, term and vote of one member, behind PySyncObj's Journal class.

Mends what the library's file journal lacks (no fsync, in-place rewriting,
memory-mapped writes that die on a full disk): changes are gathered by `add`,
`truncate`, `setCurrentTerm` and made durable together by `flush`, which the
engine calls once per tick, before any message that tick produced leaves.

Position 0 of the log is a base: the index and term just before the first
entry that is kept. The commit index on disk is a hint without a sync of its own.
"""

from pathlib import Path
from typing import Any

import msgspec
from pysyncobj.journal import Journal

from qkms_node.consensus import journal_records as records
from qkms_node.consensus.entries import FIRST, NO_OP, Entry
from qkms_node.consensus.journal_records import PAIR, SINGLE, Ballot, Head
from qkms_node.consensus.newcomer import Newcomer
from qkms_node.consensus.replay import replay
from qkms_node.consensus.segments import JournalDamaged, Segment, SegmentWriter, read_segments

_encoder = msgspec.msgpack.Encoder()


class DurableJournal(Journal):  # type: ignore[misc]  # the library is untyped
    """Opens or creates the journal in `folder`. Raises JournalDamaged, DiskFault, OSError.

    `torn_bytes` is what was cut from the end at load: written, never acknowledged.
    """

    def __init__(self, folder: Path, cluster_id: str, node_id: str, segment_bytes: int) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self.folder = folder
        self.newcomer = Newcomer(folder)
        self._writer = SegmentWriter(folder, segment_bytes)
        self._pending: list[bytes] = []
        self._only_entries = True
        self._hint_written = 1
        self._entries: list[Entry] = [FIRST]
        self._term = 0
        self._voted_for: str | None = None
        self._commit_index = 1
        self.log_bytes = 0
        self.torn_bytes = 0
        self._load()

    def _load(self) -> None:
        for stale in self.folder.glob("*.tmp"):
            stale.unlink()
        loaded = read_segments(self.folder)
        if not loaded:
            self._writer.begin(self._head(1))
            return
        first = loaded[0].head
        if (first.cluster_id, first.node_id) != (self._cluster_id, self._node_id):
            raise JournalDamaged(
                loaded[0].path,
                0,
                f"it belongs to node {first.node_id} of cluster {first.cluster_id}, this is node {self._node_id} "
                f"of cluster {self._cluster_id}",
            )
        state = replay(loaded)
        self._entries = state.entries
        self._term, self._voted_for = state.term, state.voted_for
        self._commit_index = self._hint_written = min(state.commit_index, self._entries[-1][1])
        self.log_bytes = sum(len(entry[0]) for entry in self._entries)
        last = loaded[-1]
        self.torn_bytes = last.torn
        segments = [Segment(s.number, s.path, low) for s, low in zip(loaded, state.lows, strict=True)]
        self._writer.resume(segments, last.end, last.torn, last.last_flush + 1)

    # PySyncObj's interface; positions count from the base.

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Appends the entry that follows the last one."""
        if idx != self._entries[-1][1] + 1:
            raise AssertionError(f"entry {idx} does not follow {self._entries[-1][1]}")
        self._entries.append((command, idx, term))
        self.log_bytes += len(command)
        self._put(records.ENTRY, PAIR.pack(idx, term) + command)
        self._writer.current.low = min(self._writer.current.low, idx)

    def clear(self) -> None:
        """Not part of how this journal is used: see `reset`."""
        raise NotImplementedError

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        """Removes the entries from position `entryFrom`, at least 1, by a record: nothing is rewritten."""
        removed = self._entries[entryFrom:]
        del self._entries[entryFrom:]
        self.log_bytes -= sum(len(entry[0]) for entry in removed)
        _, index, term = self._entries[-1]
        self._put(records.TRUNCATE, PAIR.pack(index + 1, term))
        self._writer.current.low = min(self._writer.current.low, index + 1)

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803
        """Forgets the entries up to position `entryTo`, which becomes the base; a snapshot must cover them."""
        _, index, term = self._entries[entryTo]
        dropped = self._entries[1 : entryTo + 1]
        self._entries[: entryTo + 1] = [(NO_OP, index, term)]
        self.log_bytes -= sum(len(entry[0]) for entry in dropped)
        self._writer.drop_before(index)

    def reset(self, index: int, term: int) -> None:
        """Forgets the whole log; it goes on after (`index`, `term`), which a snapshot covers."""
        self._entries = [(NO_OP, index, term)]
        self.log_bytes = 1
        self._put(records.BASE, PAIR.pack(index, term))
        self._writer.current.low = min(self._writer.current.low, index + 1)
        self._commit_index = max(self._commit_index, index)

    def __getitem__(self, item: Any) -> Any:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        """Kept as a hint, written with the next flush that writes anything."""
        self._commit_index = raftCommitIndex

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        """The commit index as last known, never beyond the last entry."""
        return self._commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        """Term and vote, durable at the next flush and so before the vote leaves."""
        self._term, self._voted_for = term, votedForNodeId
        self._put(records.VOTE, _encoder.encode(Ballot(term, votedForNodeId)))

    def getCurrentTerm(self) -> int:  # noqa: N802
        """The last term set."""
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        """The member voted for in the current term."""
        return self._voted_for

    def _destroy(self) -> None:
        self._writer.close()

    # Durability.

    @property
    def awaits_flush(self) -> bool:
        """Whether the next flush has something to make durable."""
        return bool(self._pending)

    @property
    def awaits_only_entries(self) -> bool:
        """Whether what the next flush makes durable is entries at the end of the log, and neither vote nor cut."""
        return self._only_entries

    def flush(self) -> None:
        """Makes everything since the last flush durable with one fdatasync. Raises DiskFault."""
        if self._pending:
            self._write_pending()
        self.newcomer.settle()

    def _write_pending(self) -> None:
        if self._commit_index > self._hint_written:
            self._put(records.COMMIT, SINGLE.pack(self._commit_index))
            self._hint_written = self._commit_index
        data = b"".join(self._pending)
        self._pending.clear()
        self._only_entries = True
        self._writer.append(data)
        if self._writer.full:
            self._writer.begin(self._head(self._writer.current.number + 1))

    def _put(self, kind: int, payload: bytes) -> None:
        self._only_entries &= kind == records.ENTRY
        self._pending.append(records.encode(self._writer.flush_number, kind, payload))

    def _head(self, number: int) -> Head:
        _, index, term = self._entries[-1]
        return Head(
            format=records.FORMAT,
            cluster_id=self._cluster_id,
            node_id=self._node_id,
            segment=number,
            base_index=index,
            base_term=term,
            term=self._term,
            voted_for=self._voted_for,
            commit_index=self._commit_index,
        )
