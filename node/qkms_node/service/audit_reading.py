"""Reading the audit of a node: pages of a chain, and whether its files are what they must be.

Files are read as they stand on the disk, records counted by their place, so
that a record which lies about its number misleads nobody. Work for a thread,
never for the event loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkms.audit import (
    MUTATIONS_GENESIS,
    AuditBroken,
    AuditPublicKey,
    Head,
    SignedHead,
    check_chain,
    fields_of,
    follow,
    head_of,
    number_of,
    signed_by,
)
from qkms_node.access.chain_files import lines_after
from qkms_node.access.spool import STEM as MUTATIONS
from qkms_node.ledger.patterns import matches

CALLS = "calls"
SCANNED = 20_000
"""Records looked at for one page, so that a filter that matches little ends a call in time."""
PAGE_BYTES = 1024 * 1024
"""Of lines in one page: the answer holds them twice, and must fit a message of 4 MiB."""

_FILTERED = ("principal", "method", "resource", "code", "request_id")


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

    def admits(self, fields: Mapping[str, Any]) -> bool:
        """Whether a record is asked for."""
        time_ms = int(fields.get("time_ms", 0))
        if time_ms < self.start_ms or (self.end_ms and time_ms >= self.end_ms):
            return False
        asked = ((getattr(self, name), str(fields.get(name, ""))) for name in _FILTERED)
        return all(not pattern or matches(pattern, value) for pattern, value in asked)


@dataclass(frozen=True)
class Page:
    """Lines in order of number; `after` continues, 0: this was the end."""

    lines: list[bytes]
    after: int


@dataclass(frozen=True)
class Verdict:
    """What a check of one chain found; `broken` 0: intact."""

    chain: str
    records: int
    anchors: int
    broken: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Window:
    """The mutations that the ledger still holds: what they follow, they, and the end."""

    base: Head
    lines: list[bytes]
    end: Head


def page(lines: Iterator[bytes], after: int, wanted: Filter, limit: int) -> Page:
    """Up to `limit` of the lines, which begin after record `after`."""
    found: list[bytes] = []
    size = 0
    for scanned, line in enumerate(lines, start=1):
        if wanted.admits(_readable(line)):
            found.append(line)
            size += len(line)
        if len(found) == limit or scanned == SCANNED or size >= PAGE_BYTES:
            return Page(found, number_of(line) or after + scanned)
    return Page(found, 0)


def call_lines(folder: Path, after: int, end: Head) -> Iterator[bytes]:
    """This node's calls after record `after` and up to `end`: what is not synced yet may be taken back."""
    for number, line in enumerate(lines_after(folder, CALLS, after), start=after + 1):
        if number > end.length:
            return
        yield line


def mutation_lines(folder: Path, after: int, window: Window) -> Iterator[bytes]:
    """Mutations after record `after`: from the files what has left the window, then the window."""
    yield from _left(folder, after, window.base.length)
    yield from window.lines[max(0, after - window.base.length) :]


def verify_mutations(folder: Path, window: Window) -> Verdict:
    """Checks the files and the window against the ledger's own head."""
    count, head = 0, Head(0, MUTATIONS_GENESIS)
    try:
        for line in _left(folder, 0, window.base.length):
            # A gap is where this node was given a snapshot; what is there is followed.
            head = follow(head, line) if number_of(line) <= head.length + 1 else head_of(line)
            count += 1
        if head.length == window.base.length and head != window.base:
            raise AuditBroken(head.length, "is not the one that the ledger goes on from")
        spooled = lines_after(folder, MUTATIONS, window.base.length)
        for number, (line, known) in enumerate(zip(spooled, window.lines, strict=False), window.base.length + 1):
            if line != known and number_of(line) in (0, number):
                raise AuditBroken(number, "is not what the ledger says")
        if check_chain(window.base, window.lines) != window.end:
            raise AuditBroken(window.end.length, "is not the one that the ledger ends with")
    except AuditBroken as broken:
        return Verdict(MUTATIONS, count, 0, max(broken.number, 1), broken.problem)
    return Verdict(MUTATIONS, count + len(window.lines), 0)


def verify_calls(
    folder: Path,
    cluster_id: str,
    start: Head,
    end: Head,
    keys: Mapping[str, AuditPublicKey],
    anchors: Sequence[SignedHead],
) -> Verdict:
    """Checks this node's calls from `start` to `end`, against anchors of the ledger."""
    count = 0

    def counted() -> Iterator[bytes]:
        nonlocal count
        for line in call_lines(folder, start.length, end):
            yield line
            count += 1

    try:
        for anchor in anchors:
            if anchor.key_id not in keys or not signed_by(keys[anchor.key_id], cluster_id, anchor):
                raise AuditBroken(anchor.head.length, "has an anchor whose signatures do not verify")
        head = check_chain(start, counted(), anchors)
        if head != end:
            raise AuditBroken(head.length + 1, f"is missing: {end.length} records were written")
    except AuditBroken as broken:
        return Verdict(CALLS, count, len(anchors), max(broken.number, 1), broken.problem)
    return Verdict(CALLS, count, len(anchors))


def _left(folder: Path, after: int, last: int) -> Iterator[bytes]:
    """Spooled mutations after `after` up to `last`."""
    number = after
    for line in lines_after(folder, MUTATIONS, after):
        number = number_of(line) or number + 1
        if number > last:
            return
        yield line


def _readable(line: bytes) -> dict[str, Any]:
    try:
        return fields_of(line)
    except ValueError:
        return {}
