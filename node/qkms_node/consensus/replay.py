"""From the journal's records to the state that they describe. Pure.

The first segment's head is the starting point; each later head must continue
exactly where the segment before ended. Anything that does not follow is
damage, never skipped.
"""

import struct
from dataclasses import dataclass, field

import msgspec

from qkms_node.consensus import journal_records as records
from qkms_node.consensus.entries import NO_OP, Entry
from qkms_node.consensus.journal_records import PAIR, SINGLE, Ballot, Record
from qkms_node.consensus.segments import JournalDamaged, LoadedSegment
from qkms_node.unreadable import UNREADABLE


@dataclass
class Replayed:
    """`entries[0]` is the base. `lows`: per segment, see Segment.low."""

    entries: list[Entry]
    term: int
    voted_for: str | None
    commit_index: int
    lows: list[int] = field(default_factory=list)


def replay(segments: list[LoadedSegment]) -> Replayed:
    """The state after all records of at least one segment. Raises JournalDamaged."""
    head = segments[0].head
    state = Replayed([(NO_OP, head.base_index, head.base_term)], head.term, head.voted_for, head.commit_index)
    for segment in segments:
        _check_continues(state, segment)
        low = segment.head.base_index + 1
        for record in segment.records:
            try:
                low = min(low, _apply(state, segment, record))
            except (struct.error, *UNREADABLE) as error:
                raise JournalDamaged(
                    segment.path, record.offset, f"the record does not decode: {error}"
                ) from error
        state.lows.append(low)
    return state


def _check_continues(state: Replayed, segment: LoadedSegment) -> None:
    head = segment.head
    _, index, term = state.entries[-1]
    expected = (index, term, state.term, state.voted_for)
    if (head.base_index, head.base_term, head.term, head.voted_for) != expected:
        raise JournalDamaged(
            segment.path, 0, f"it begins after entry {head.base_index}, the segment before ends with {index}"
        )
    state.commit_index = max(state.commit_index, head.commit_index)


def _apply(state: Replayed, segment: LoadedSegment, record: Record) -> int:
    """Applies one record; returns the lowest index that it touches."""
    payload = record.payload
    last = state.entries[-1][1]
    if record.kind == records.ENTRY:
        index, term = _pair(payload)
        if index != last + 1:
            raise JournalDamaged(segment.path, record.offset, f"entry {index} does not follow entry {last}")
        state.entries.append((payload[PAIR.size :], index, term))
        return index
    if record.kind == records.TRUNCATE:
        index, before_term = _pair(payload)
        base = state.entries[0][1]
        if index > last + 1:
            raise JournalDamaged(segment.path, record.offset, f"entries from {index} removed, the last is {last}")
        if index <= base:
            state.entries = [(NO_OP, index - 1, before_term)]
        else:
            del state.entries[index - base :]
        return index
    if record.kind == records.BASE:
        index, term = _pair(payload)
        state.entries = [(NO_OP, index, term)]
        return index + 1
    if record.kind == records.VOTE:
        ballot = msgspec.msgpack.decode(payload, type=Ballot)
        state.term, state.voted_for = ballot.term, ballot.voted_for
    elif record.kind == records.COMMIT:
        (state.commit_index,) = SINGLE.unpack(payload)
    else:
        raise JournalDamaged(segment.path, record.offset, f"unknown record kind {record.kind}; upgrade this node")
    return last + 1


def _pair(payload: bytes) -> tuple[int, int]:
    first, second = PAIR.unpack_from(payload)
    return int(first), int(second)
