"""Log entries: what one holds, and its encoding.

An entry is (command, index, term), the triple that PySyncObj keeps. The
command's first byte is its kind. A batch is msgpack `[time_ms, [command, ...]]`:
the leader's clock when it formed the entry, and the proposals that it gathered.
A configuration is msgpack `[voters, learners]`.
"""

import msgspec

from qkms_node.consensus.configuration import Configuration, Placed
from qkms_node.unreadable import UNREADABLE

Entry = tuple[bytes, int, int]

BATCH = b"\x00"
NO_OP = b"\x01"
CONFIGURATION = b"\x02"
FIRST: Entry = (NO_OP, 1, 0)  # every log begins with it, as PySyncObj has it

_encoder = msgspec.msgpack.Encoder()
_batch: msgspec.msgpack.Decoder[tuple[int, list[bytes]]] = msgspec.msgpack.Decoder(tuple[int, list[bytes]])
_configuration = msgspec.msgpack.Decoder(Configuration)


class EntryUnreadable(Exception):
    """A committed entry that this version cannot read: the node must stop rather than skip it."""

    code = "ENTRY_UNREADABLE"


def encode_batch(time_ms: int, commands: list[bytes]) -> bytes:
    """The command of one log entry that carries `commands`. `time_ms`: Unix epoch."""
    return BATCH + _encoder.encode((time_ms, commands))


def decode_batch(entry: Entry) -> tuple[int, list[bytes]] | None:
    """(time_ms, commands), or None for an entry that carries none. Raises EntryUnreadable."""
    command, index, _ = entry
    kind = command[:1]
    if kind in (NO_OP, CONFIGURATION):
        return None
    if kind != BATCH:
        raise EntryUnreadable(
            f"entry {index} is of kind {kind.hex()}: written by a later version; upgrade this node"
        )
    try:
        return _batch.decode(memoryview(command)[1:])
    except UNREADABLE as error:
        raise EntryUnreadable(f"entry {index} does not decode: {error}") from error


def encode_configuration(configuration: Configuration) -> bytes:
    """The command of a log entry that puts `configuration` into effect."""
    return CONFIGURATION + _encoder.encode(configuration)


def decode_configuration(entry: Entry) -> Placed | None:
    """The configuration that the entry carries, if it does. Raises EntryUnreadable."""
    command, index, term = entry
    if command[:1] != CONFIGURATION:
        return None
    try:
        return Placed(index, term, _configuration.decode(memoryview(command)[1:]))
    except UNREADABLE as error:
        raise EntryUnreadable(f"entry {index} does not decode: {error}") from error
