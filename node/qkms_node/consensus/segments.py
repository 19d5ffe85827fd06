"""The journal's files: a numbered chain of append-only segments.

Each segment begins with a Head that holds the whole state before its first
entry, so segments before it can be removed once nothing live is in them. A
new segment is written aside, fsynced and renamed. Writes are appended and
followed by one fdatasync; nothing is ever overwritten. At load the torn tail
of the last segment is cut; any other damage is refused with file and offset.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from qkms_node.consensus import journal_records as records
from qkms_node.consensus.files import DiskFault, preallocate, publish, remove, sync_folder, write_all
from qkms_node.consensus.journal_records import Head, Record
from qkms_node.unreadable import UNREADABLE

_encoder = msgspec.msgpack.Encoder()
_SUFFIX = ".journal"


class JournalDamaged(Exception):
    """Something that was durable is not readable; the message names file, offset and what to do."""

    code = "JOURNAL_DAMAGED"

    def __init__(self, path: Path, offset: int, problem: str) -> None:
        super().__init__(
            f"{path}: at byte {offset}: {problem}. This node cannot trust its log: check the disk, move the whole "
            "data directory aside and start the node again; it is rebuilt from the other members"
        )
        self.path = path
        self.offset = offset


@dataclass
class Segment:
    """`low`: entries from this index on, as far as they are live, lie in this segment or later ones."""

    number: int
    path: Path
    low: int


@dataclass(frozen=True)
class LoadedSegment:
    """`end`: where the valid records end. `torn`: bytes after it, never acknowledged."""

    number: int
    path: Path
    head: Head
    records: list[Record]
    last_flush: int
    end: int
    torn: int


def segment_paths(folder: Path) -> list[tuple[int, Path]]:
    """Number and path of every segment, in order."""
    return sorted((int(path.stem), path) for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())


def read_segments(folder: Path) -> list[LoadedSegment]:
    """Every segment's records, unchanged on disk. Raises JournalDamaged."""
    loaded: list[LoadedSegment] = []
    paths = segment_paths(folder)
    last_flush = 0
    for position, (number, path) in enumerate(paths):
        if position and number != paths[position - 1][0] + 1:
            raise JournalDamaged(path, 0, f"segment {paths[position - 1][0] + 1} before it is missing")
        data = path.read_bytes()
        found = records.scan(data, last_flush)
        if not found.records or found.records[0].kind != records.HEAD:
            raise JournalDamaged(path, 0, "the segment does not begin with a head record")
        if found.rest is not None and (position + 1 < len(paths) or found.rest.durable_at is not None):
            raise JournalDamaged(path, found.end, "a record is damaged that later ones prove was durable")
        head = _head(path, found.records[0])
        if head.segment != number:
            raise JournalDamaged(path, 0, f"the head belongs to segment {head.segment}")
        torn = 0 if found.rest is None else len(data.rstrip(b"\0")) - found.end
        last_flush = found.records[-1].flush
        loaded.append(LoadedSegment(number, path, head, found.records[1:], last_flush, found.end, torn))
    return loaded


def _head(path: Path, record: Record) -> Head:
    try:
        head = msgspec.msgpack.decode(record.payload, type=Head)
    except UNREADABLE as error:
        raise JournalDamaged(path, record.offset, f"the head does not decode: {error}") from error
    if head.format != records.FORMAT:
        raise JournalDamaged(path, record.offset, f"format {head.format}, this version reads {records.FORMAT}")
    return head


class SegmentWriter:
    """Appends to the last segment of a folder and begins new ones."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segments: list[Segment] = []
        self._descriptor = -1
        self._end = 0
        self.flush_number = 1

    @property
    def full(self) -> bool:
        """Whether the next records belong in a new segment."""
        return self._end >= self._segment_bytes

    @property
    def current(self) -> Segment:
        """The segment written to."""
        return self._segments[-1]

    def resume(self, segments: list[Segment], end: int, torn: int, flush_number: int) -> None:
        """Continues the last of `segments` at `end`, cutting what follows. Raises DiskFault."""
        self._segments = segments
        self._end = end
        self.flush_number = flush_number
        try:
            self._descriptor = os.open(self.current.path, os.O_RDWR | os.O_CLOEXEC)
            if torn:
                os.ftruncate(self._descriptor, end)
            preallocate(self._descriptor, max(self._segment_bytes, end))
            # What was loaded may have been only in the page cache, its name too; it is acted upon from here on.
            os.fsync(self._descriptor)
        except OSError as error:
            raise DiskFault(f"{self.current.path}: cannot continue the journal: {error.strerror}") from error
        sync_folder(self._folder)

    def begin(self, head: Head) -> None:
        """Starts the segment `head.segment`, durable when this returns. Raises DiskFault."""
        path = self._folder / f"{head.segment:012d}{_SUFFIX}"
        temporary = path.with_suffix(".tmp")
        first = records.encode(self.flush_number, records.HEAD, _encoder.encode(head))
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            preallocate(descriptor, self._segment_bytes)
            write_all(descriptor, first, 0, temporary)
            os.fsync(descriptor)
            publish(temporary, path)
        except OSError as error:
            raise DiskFault(f"{path}: cannot begin a journal segment: {error.strerror}") from error
        self.close()
        self._descriptor = descriptor
        self._end = len(first)
        self.flush_number += 1
        self._segments.append(Segment(head.segment, path, head.base_index + 1))

    def append(self, data: bytes) -> None:
        """Appends records of the current flush number, durable when this returns. Raises DiskFault."""
        write_all(self._descriptor, data, self._end, self.current.path)
        self._end += len(data)
        self.flush_number += 1

    def drop_before(self, index: int) -> None:
        """Removes the segments that hold no live entry after `index`, oldest first. Raises DiskFault."""
        keep = max((i for i, s in enumerate(self._segments) if s.low <= index + 1), default=0)
        for segment in self._segments[:keep]:
            remove(segment.path)
        if keep:
            self._segments = self._segments[keep:]
            sync_folder(self._folder)

    def close(self) -> None:
        """Closes the file written to."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
