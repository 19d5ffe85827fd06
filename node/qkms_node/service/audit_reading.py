"""Reading the audit of a node: pages of a chain, each record with what is wrong with it.

Files are read as they stand on the disk, records counted by their place, so
that a record which lies about its number misleads nobody. A record that does
not follow the one before it, or does not say what a record says, is given
whatever was asked for: what it said before it was damaged might be it. Work for
a thread, never for the event loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from qkms.audit import MAX_NUMBER, MUTATIONS_GENESIS, AuditBroken, Head, follow, head_of
from qkms_node.access.chain_files import Line, lines_after
from qkms_node.access.spool import STEM as MUTATIONS
from qkms_node.ledger.patterns import matches
from qkms_node.unreadable import UNREADABLE

CALLS = "calls"
SCANNED = 20_000
"""Records looked at for one page, so that a filter that matches little ends a call in time."""
PAGE_BYTES = 1024 * 1024
"""Of lines in one page, or one line: the answer holds them twice, and must fit a message of 4 MiB."""
LAST_MS = 253_402_300_799_999
"""The end of the year 9999, in milliseconds: the last time that protobuf can say."""

_FILTERED = ("principal", "method", "resource", "code", "request_id")


class Fields(msgspec.Struct, frozen=True):
    """What a record says; times in milliseconds. Further fields are left out."""

    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)] = 0
    principal: str = ""
    method: str = ""
    resource: str = ""
    code: str = ""
    request_id: str = ""
    revision: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)] = 0
    decisions: tuple[tuple[str, str, bool, str], ...] = ()
    context_keys: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(Fields)


@dataclass(frozen=True)
class Filter:
    """Which records to give: patterns (empty: any), times in milliseconds (0: open)."""

    principal: str = ""
    method: str = ""
    resource: str = ""
    code: str = ""
    request_id: str = ""
    start_ms: int = 0
    end_ms: int = 0

    def admits(self, fields: Fields) -> bool:
        """Whether a record is asked for."""
        if fields.time_ms < self.start_ms or (self.end_ms and fields.time_ms >= self.end_ms):
            return False
        asked = ((getattr(self, name), getattr(fields, name)) for name in _FILTERED)
        return all(not pattern or matches(pattern, value) for pattern, value in asked)


@dataclass(frozen=True)
class Record:
    """A line, what it says (None: nothing that a record says), and what is wrong with it (empty: nothing)."""

    line: bytes
    fields: Fields | None
    damage: str


@dataclass(frozen=True)
class Page:
    """Records in order; `after` continues, 0: this was the end."""

    records: list[Record]
    after: int


@dataclass(frozen=True)
class Window:
    """The mutations that the ledger still holds: what they follow, they, and the end."""

    base: Head
    lines: list[bytes]
    end: Head


def call_page(folder: Path, start: Head, end: Head, after: int, wanted: Filter, limit: int) -> Page:
    """Up to `limit` of this node's calls after record `after`; the chain goes from `start` to `end`."""
    before = start if after <= start.length else None
    return _page(call_lines(folder, max(after - 1, start.length), end), before, after, wanted, limit, gaps=False)


def mutation_page(folder: Path, window: Window, after: int, wanted: Filter, limit: int) -> Page:
    """Up to `limit` mutations after record `after`: from the files what has left the window, then the window."""
    before = None if after else Head(0, MUTATIONS_GENESIS)
    return _page(mutation_lines(folder, max(after - 1, 0), window), before, after, wanted, limit, gaps=True)


def call_lines(folder: Path, after: int, end: Head) -> Iterator[Line]:
    """This node's calls after record `after` and up to `end`: what is not synced yet may be taken back."""
    for line in lines_after(folder, CALLS, after):
        if line.number > end.length:
            return
        yield line


def mutation_lines(folder: Path, after: int, window: Window) -> Iterator[Line]:
    """Mutations after record `after`: from the files what has left the window, then the window."""
    yield from spooled_lines(folder, after, window.base.length)
    first = window.base.length + 1
    for place in range(max(1, after - window.base.length + 1), len(window.lines) + 1):
        yield Line(first + place - 1, window.lines[place - 1], None, place)


def spooled_lines(folder: Path, after: int, last: int) -> Iterator[Line]:
    """Mutations in files after `after` up to `last`."""
    for line in lines_after(folder, MUTATIONS, after):
        if line.number > last:
            return
        yield line


def checked(before: Head | None, line: Line, *, gaps: bool) -> Head:
    """The head after `line`, which must follow `before` (None: unknown). Raises AuditBroken with the place.

    With `gaps`, the first line of a file may be further on: where a node was given a snapshot.
    """
    try:
        if before is None or (gaps and line.place == 1 and line.number > before.length + 1):
            head = head_of(line.text)
        else:
            head = follow(before, line.text)
        if head.length != line.number:
            raise AuditBroken(line.number, f"says that it is record {head.length}")
    except AuditBroken as broken:
        raise AuditBroken(line.number, f"{broken.problem} ({line.where})") from None
    return head


def _page(
    lines: Iterator[Line], before: Head | None, after: int, wanted: Filter, limit: int, *, gaps: bool
) -> Page:
    """A page of `lines`, which begin before record `after` + 1, so that it is known what that one must follow."""
    found: list[Record] = []
    size = scanned = 0
    for line in lines:
        record = _record(before, line, gaps=gaps)
        before = _claimed(line)
        if line.number <= after:
            continue
        scanned += 1
        if record.damage or (record.fields and wanted.admits(record.fields)):
            if found and size + len(line.text) > PAGE_BYTES:
                return Page(found, line.number - 1)
            found.append(record)
            size += len(line.text)
        if len(found) == limit or scanned == SCANNED:
            return Page(found, line.number)
    return Page(found, 0)


def _record(before: Head | None, line: Line, *, gaps: bool) -> Record:
    damage = ""
    try:
        checked(before, line, gaps=gaps)
    except AuditBroken as broken:
        damage = f"record {broken.number} {broken.problem}"
    try:
        fields = _decoder.decode(line.text)
    except UNREADABLE:
        # Nothing of the error: it may be long, and the line is there.
        said = f"record {line.number} does not say what a record says ({line.where})"
        return Record(line.text, None, damage or said)
    return Record(line.text, fields, damage)


def _claimed(line: Line) -> Head | None:
    """The head that a line claims, if it is one for its place."""
    try:
        head = head_of(line.text)
    except AuditBroken:
        return None
    return head if head.length == line.number else None
