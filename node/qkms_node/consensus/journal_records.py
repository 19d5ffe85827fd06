"""Records of the journal: framing, kinds, and what a damaged byte means. Pure.

A record is: magic (4 bytes), CRC32C (4), payload length (4), flush number (8),
kind (1), payload; integers little-endian; the checksum covers all that
follows it. All records written between two fdatasync share a flush number.

A disk may keep any part of what was written after the last fdatasync, in any
order. So a damaged record followed only by records of the flush that it was
part of is a torn tail, never acknowledged, and may be cut; one followed by a
record of a later flush was durable once, and is damage that must not be hidden.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c
import msgspec

MAGIC = b"\xf5qkj"
_BODY = struct.Struct("<IQB")
_PREFIX = len(MAGIC) + 4
HEADER_BYTES = _PREFIX + _BODY.size
PAIR = struct.Struct("<QQ")
SINGLE = struct.Struct("<Q")

HEAD, ENTRY, TRUNCATE, VOTE, COMMIT, BASE = 1, 2, 3, 4, 5, 6
NAMES = {HEAD: "head", ENTRY: "entry", TRUNCATE: "truncate", VOTE: "vote", COMMIT: "commit", BASE: "base"}

FORMAT = 1


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """First record of a segment: whose it is, and the whole state before its first entry."""

    format: int
    cluster_id: str
    node_id: str
    segment: int
    base_index: int
    base_term: int
    term: int
    voted_for: str | None
    commit_index: int


class Ballot(msgspec.Struct, frozen=True, array_like=True):
    """Current term, and the member voted for in it."""

    term: int
    voted_for: str | None


@dataclass(frozen=True)
class Record:
    """One valid record and where it lies in its segment (bytes)."""

    offset: int
    end: int
    flush: int
    kind: int
    payload: bytes


@dataclass(frozen=True)
class Scan:
    """`end`: where the valid records end. `rest`: what follows, None when only zeros do."""

    records: list[Record]
    end: int
    rest: "Rest | None"


@dataclass(frozen=True)
class Rest:
    """Bytes that are no record. `durable_at`: offset of a later record that proves them damaged."""

    durable_at: int | None


def encode(flush: int, kind: int, payload: bytes) -> bytes:
    """One record as it is written."""
    body = _BODY.pack(len(payload), flush, kind) + payload
    return b"".join((MAGIC, google_crc32c.value(body).to_bytes(4, "little"), body))


def scan(data: bytes, last_flush: int) -> Scan:
    """All records from the start of a segment. `last_flush`: of the segment before, 0 for none."""
    records: list[Record] = []
    offset = 0
    while (record := _record_at(data, offset)) is not None:
        records.append(record)
        offset = record.end
        last_flush = record.flush
    if not data[offset:].strip(b"\0"):
        return Scan(records, offset, None)
    later = (r.offset for r in _candidates(data, offset) if r.flush > last_flush + 1)
    return Scan(records, offset, Rest(next(later, None)))


def _record_at(data: bytes, offset: int) -> Record | None:
    body_at = offset + _PREFIX
    if len(data) < offset + HEADER_BYTES or data[offset : offset + len(MAGIC)] != MAGIC:
        return None
    length, flush, kind = _BODY.unpack_from(data, body_at)
    end = offset + HEADER_BYTES + length
    if len(data) < end:
        return None
    checksum = int.from_bytes(data[offset + len(MAGIC) : body_at], "little")
    if google_crc32c.value(data[body_at:end]) != checksum:
        return None
    return Record(offset, end, flush, kind, data[offset + HEADER_BYTES : end])


def _candidates(data: bytes, offset: int) -> Iterator[Record]:
    at = data.find(MAGIC, offset)
    while at >= 0:
        record = _record_at(data, at)
        if record is not None:
            yield record
        at = data.find(MAGIC, at + 1)
