"""Whether the audit files of a node are what they must be.

The first record that is wrong is named with its file and line. Files that
cannot be read are a broken chain too. Work for a thread, never for the event
loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qkms.audit import (
    MUTATIONS_GENESIS,
    AuditBroken,
    AuditPublicKey,
    Head,
    SignedHead,
    check_chain,
    signed_by,
)
from qkms_node.access.chain_files import Line, lines_after
from qkms_node.access.spool import STEM as MUTATIONS
from qkms_node.service.audit_reading import CALLS, Window, call_lines, checked, spooled_lines


@dataclass(frozen=True)
class Verdict:
    """What a check of one chain found; `broken` 0: intact."""

    chain: str
    records: int
    anchors: int
    broken: int = 0
    problem: str = ""


def verify_mutations(folder: Path, window: Window) -> Verdict:
    """Checks the files and the window against the ledger's own head."""
    count, head = 0, Head(0, MUTATIONS_GENESIS)
    try:
        for line in spooled_lines(folder, 0, window.base.length):
            head = checked(head, line, gaps=True)
            count += 1
        if head.length == window.base.length and head != window.base:
            raise AuditBroken(head.length, "is not the one that the ledger goes on from")
        for line in lines_after(folder, MUTATIONS, window.base.length):
            if line.number > window.end.length:
                break
            if line.text != window.lines[line.number - window.base.length - 1]:
                raise AuditBroken(line.number, f"is not what the ledger says ({line.where})")
        if check_chain(window.base, window.lines) != window.end:
            raise AuditBroken(window.end.length, "is not the one that the ledger ends with")
    except AuditBroken as broken:
        return Verdict(MUTATIONS, count, 0, max(broken.number, 1), broken.problem)
    except OSError as error:
        return Verdict(MUTATIONS, count, 0, count + 1, unreadable(error))
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
    last: Line | None = None

    def counted() -> Iterator[bytes]:
        nonlocal count, last
        for last in call_lines(folder, start.length, end):
            yield last.text
            count += 1

    try:
        for anchor in anchors:
            if anchor.key_id not in keys or not signed_by(keys[anchor.key_id], cluster_id, anchor):
                raise AuditBroken(anchor.head.length, "has an anchor whose signatures do not verify")
        head = check_chain(start, counted(), anchors)
        if head != end:
            raise AuditBroken(head.length + 1, f"is missing: {end.length} records were written")
    except AuditBroken as broken:
        where = f" ({last.where})" if last is not None and broken.number <= last.number else ""
        return Verdict(CALLS, count, len(anchors), max(broken.number, 1), broken.problem + where)
    except OSError as error:
        return Verdict(CALLS, count, len(anchors), count + 1, unreadable(error))
    return Verdict(CALLS, count, len(anchors))


def unreadable(error: OSError) -> str:
    """What to say of files that cannot be read."""
    return f"cannot be read: {error.filename}: {error.strerror}"
