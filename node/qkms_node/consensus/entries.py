"""Log entries: what one holds, and its encoding.

An entry is (command, index, term), the triple that PySyncObj keeps. The
command's first byte is its kind. A batch is msgpack `[time_ms, [command, ...]]`:
the leader's clock when it formed the entry, and the proposals that it gathered.
"""

import msgspec

Entry = tuple[bytes, int, int]

BATCH = b"\x00"
NO_OP = b"\x01"
FIRST: Entry = (NO_OP, 1, 0)  # every log begins with it, as PySyncObj has it

_encoder = msgspec.msgpack.Encoder()
_batch: msgspec.msgpack.Decoder[tuple[int, list[bytes]]] = msgspec.msgpack.Decoder(tuple[int, list[bytes]])


class EntryUnreadable(Exception):
    """A committed entry that this version cannot read: the node must stop rather than skip it."""

    code = "ENTRY_UNREADABLE"


def encode_batch(time_ms: int, commands: list[bytes]) -> bytes:
    """The command of one log entry that carries `commands`. `time_ms`: Unix epoch."""
    return BATCH + _encoder.encode((time_ms, commands))


def decode_batch(entry: Entry) -> tuple[int, list[bytes]] | None:
    """(time_ms, commands), or None for a no-op. Raises EntryUnreadable."""
    command, index, _ = entry
    kind = command[:1]
    if kind == NO_OP:
        return None
    if kind != BATCH:
        raise EntryUnreadable(
            f"entry {index} is of kind {kind.hex()}: written by a later version; upgrade this node"
        )
    try:
        return _batch.decode(memoryview(command)[1:])
    except msgspec.MsgspecError as error:
        raise EntryUnreadable(f"entry {index} does not decode: {error}") from error
