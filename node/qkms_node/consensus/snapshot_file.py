"""One snapshot file: a stream of checksummed blocks, written once, read in one pass.

Layout: magic (8 bytes), then blocks of kind (1), length (4), CRC32C (4) and
payload, integers little-endian. First a meta block, then blocks of chunks as
the state machine gave them, last an end block with the number of chunks and a
BLAKE2b digest (16 bytes) of everything before it. Memory is bounded by one
block, whatever the size of the state. Nothing in it is ever an object of Python.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import msgspec

from qkms_node.consensus.configuration import Placed
from qkms_node.unreadable import UNREADABLE

MAGIC = b"QKMSNAP1"
DIGEST_BYTES = 16
BLOCK_BYTES = 64 * 1024
SYNC_BYTES = 4 * 1024 * 1024  # left to the end, a large file would hold up every other sync of its disk
_BLOCK = struct.Struct("<BII")
_META, _CHUNKS, _END = 1, 2, 3
_MAX_BLOCK_BYTES = 64 * 1024 * 1024
_encoder = msgspec.msgpack.Encoder()
_chunks: msgspec.msgpack.Decoder[list[bytes]] = msgspec.msgpack.Decoder(list[bytes])


class SnapshotDamaged(Exception):
    """A snapshot file that cannot be trusted; the message names it and what to do."""

    code = "SNAPSHOT_DAMAGED"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: {problem}. This node cannot trust its state: check the disk, move the whole data directory "
            "aside and start the node again; it is rebuilt from the other members"
        )


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What the snapshot covers: all entries up to (`index`, `term`), the last stamped `time_ms`.

    `configuration`: in effect at `index`.
    """

    cluster_id: str
    index: int
    term: int
    time_ms: int
    configuration: Placed | None = None


@dataclass(frozen=True)
class SnapshotFile:
    """A complete file. `digest` tells two files of the same index apart."""

    path: Path
    meta: Meta
    size: int
    digest: bytes


class _Output:
    """Blocks into a file, hashed and synced on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._synced = 0
        self.hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.size = 0

    def raw(self, data: bytes) -> None:
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)

    def block(self, kind: int, payload: bytes) -> None:
        self.raw(_BLOCK.pack(kind, len(payload), google_crc32c.value(payload)) + payload)
        if self.size - self._synced >= SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = self.size


def write_snapshot(path: Path, meta: Meta, chunks: Iterable[bytes]) -> SnapshotFile:
    """Writes and fsyncs a new file at `path`; the caller renames it. Raises OSError."""
    with path.open("wb") as file:
        output = _Output(file)
        output.raw(MAGIC)
        output.block(_META, _encoder.encode(meta))
        count = size = 0
        gathered: list[bytes] = []
        for chunk in chunks:
            gathered.append(chunk)
            count += 1
            size += len(chunk)
            if size >= BLOCK_BYTES:
                output.block(_CHUNKS, _encoder.encode(gathered))
                gathered, size = [], 0
        if gathered:
            output.block(_CHUNKS, _encoder.encode(gathered))
        digest = output.hash.digest()
        output.block(_END, count.to_bytes(8, "little") + digest)
        output.sync()
    return SnapshotFile(path, meta, output.size, digest)


class SnapshotReader:
    """Reads a file in one pass: `meta` at once, then `chunks()` to the end, then `finish()`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._count = 0
        self._result: SnapshotFile | None = None
        if self._take(len(MAGIC)) != MAGIC:
            raise self._damaged("it does not begin as a snapshot of this version")
        kind, payload = self._block()
        if kind != _META:
            raise self._damaged("the meta block is missing")
        try:
            self.meta = msgspec.msgpack.decode(payload, type=Meta)
        except UNREADABLE as error:
            raise self._damaged(f"the meta block does not decode: {error}") from error

    def chunks(self) -> Iterator[bytes]:
        """The state machine's chunks. Raises SnapshotDamaged at the first damaged block."""
        while True:
            expected = self._hash.digest()
            kind, payload = self._block()
            if kind == _END:
                count, digest = int.from_bytes(payload[:8], "little"), payload[8:]
                if count != self._count or digest != expected:
                    raise self._damaged("the end block does not match what precedes it")
                self._result = SnapshotFile(self._path, self.meta, self._file.tell(), digest)
                return
            try:
                chunks = _chunks.decode(payload)
            except UNREADABLE as error:
                raise self._damaged(f"a block does not decode: {error}") from error
            self._count += len(chunks)
            yield from chunks

    def finish(self) -> SnapshotFile:
        """Reads whatever was left unread, closes, and vouches for the whole file."""
        for _ in self.chunks() if self._result is None else ():
            pass
        self._file.close()
        assert self._result is not None
        return self._result

    def close(self) -> None:
        """Closes without vouching."""
        self._file.close()

    def _damaged(self, problem: str) -> SnapshotDamaged:
        self._file.close()
        return SnapshotDamaged(self._path, problem)

    def _block(self) -> tuple[int, bytes]:
        kind, length, checksum = _BLOCK.unpack(self._take(_BLOCK.size))
        if length > _MAX_BLOCK_BYTES:
            raise self._damaged(f"a block claims {length} bytes")
        payload = self._take(length)
        if google_crc32c.value(payload) != checksum:
            raise self._damaged(f"the checksum fails before byte {self._file.tell()}")
        return kind, payload

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise self._damaged(f"it ends early, at byte {self._file.tell()}")
        self._hash.update(data)
        return data
