"""Prints a journal record by record, without the contents of any command.

For an operator in front of a journal that a node refused: everything readable
is shown, in order, and damage is named with its offset instead of raised.
Changes nothing and needs no running node.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from qkms_node.consensus import journal_records as records
from qkms_node.consensus.entries import Entry, EntryUnreadable, decode_batch, decode_configuration
from qkms_node.consensus.journal_records import PAIR, SINGLE, Ballot, Head, Record
from qkms_node.consensus.segments import segment_paths
from qkms_node.unreadable import UNREADABLE


def list_journal(data_dir: Path) -> Iterator[str]:
    """One line per segment and per record of the replica's `data_dir`. Raises OSError."""
    last_flush = 0
    for _, path in segment_paths(data_dir / "journal"):
        found = records.scan(path.read_bytes(), last_flush)
        yield f"{path.name}: {len(found.records)} records in {found.end} bytes"
        for record in found.records:
            yield f"  {record.offset:>9}  flush {record.flush:<8} {_describe(record)}"
            last_flush = record.flush
        if found.rest is not None:
            later = found.rest.durable_at
            meaning = "a torn tail, cut at the next start" if later is None else f"DAMAGE, see also byte {later}"
            yield f"  {found.end:>9}  what follows is no record: {meaning}"


def _describe(record: Record) -> str:
    try:
        return f"{records.NAMES.get(record.kind, record.kind):<9}{_content(record)}"
    except (*UNREADABLE, EntryUnreadable, struct.error) as error:
        return f"{records.NAMES.get(record.kind, record.kind):<9}unreadable: {type(error).__name__}"


def _content(record: Record) -> str:
    payload = record.payload
    match record.kind:
        case records.HEAD:
            head = msgspec.msgpack.decode(payload, type=Head)
            return (
                f"cluster {head.cluster_id}, node {head.node_id}, segment {head.segment}, after entry "
                f"{head.base_index} (term {head.base_term}), term {head.term}, vote {head.voted_for}, "
                f"commit {head.commit_index}"
            )
        case records.ENTRY:
            index, term = PAIR.unpack_from(payload)
            return f"index {index}, term {term}, {_entry((payload[PAIR.size :], index, term))}"
        case records.TRUNCATE | records.BASE:
            index, term = PAIR.unpack(payload)
            return (
                f"from index {index}" if record.kind == records.TRUNCATE else f"after entry {index}, term {term}"
            )
        case records.VOTE:
            ballot = msgspec.msgpack.decode(payload, type=Ballot)
            return f"term {ballot.term}, vote {ballot.voted_for}"
        case records.COMMIT:
            return f"index {SINGLE.unpack(payload)[0]}"
    return f"{len(payload)} bytes"


def _entry(entry: Entry) -> str:
    placed = decode_configuration(entry)
    if placed is not None:
        voters, learners = (" ".join(part) for part in msgspec.structs.astuple(placed.configuration))
        return f"voters {voters}, learners {learners or 'none'}"
    batch = decode_batch(entry)
    if batch is None:
        return "no-op"
    return f"{len(batch[1])} commands, {len(entry[0])} bytes, time {batch[0]} ms"
