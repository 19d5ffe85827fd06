"""A chain of audit records in append-only files: `{stem}-{number of the first record}.jsonl`.

One record a line. `write` returns when its lines are on the disk; a file over
its size is followed by the next. Opening reads the last file and goes on after
its last whole record: what a crash left of a write that nobody was told of is
cut off. A record that is wrong with others after it is no crash: it is left
as it is, and the chain cannot be opened. Not safe for several threads.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qkms.audit import AuditBroken, Head, follow, head_of, number_of

_DIGITS = 12
LINE_BYTES = 1024 * 1024
"""More of a line is not read: no record is so long."""


@dataclass(frozen=True)
class Line:
    """A line where it stands: `number` by its place, whatever it says; `place` counts from 1 in `path`.

    Without a path it is in the ledger.
    """

    number: int
    text: bytes
    path: Path | None
    place: int

    @property
    def where(self) -> str:
        """The file's name and the line."""
        return f"{self.path.name}, line {self.place}" if self.path else "the ledger"


class ChainFiles:
    """The files of one chain. `start` is its head before the first record."""

    def __init__(self, folder: Path, stem: str, start: Head, rotate_bytes: int) -> None:
        self._folder = folder
        self._stem = stem
        self._start = start
        self._rotate_bytes = rotate_bytes
        self._descriptor: int | None = None
        self._size = 0
        self.head = start
        """How far the chain is on the disk."""

    @property
    def is_open(self) -> bool:
        """Whether the chain can be written to."""
        return self._descriptor is not None

    def open(self) -> None:
        """Finds the end of the chain. Raises OSError or AuditBroken."""
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = segments(self._folder, self._stem)
        if not files:
            self.head = self._start
            self._begin(self._start.length + 1)
            return
        path = files[-1]
        data = path.read_bytes()
        self.head, self._size = _end_of(path, data, self._start)
        if not self._size and len(files) > 1:
            # A file that was begun and got no record: the chain ends in the one before.
            self.head, _ = _end_of(files[-2], files[-2].read_bytes(), self._start)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        if self._size < len(data):
            os.ftruncate(descriptor, self._size)
            os.fsync(descriptor)
        self._descriptor = descriptor

    def write(self, lines: Sequence[bytes], head: Head) -> None:
        """Appends records after which the chain's head is `head`. Raises OSError; the chain is then closed."""
        if self._descriptor is None:
            raise OSError("the audit file is closed")
        try:
            first = number_of(lines[0])
            if self._size >= self._rotate_bytes or first != self.head.length + 1:
                self._begin(first)
            data = b"".join(line + b"\n" for line in lines)
            _write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            # Nobody was told of these lines: they must not come back with the next start.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            self.close()
            raise
        self._size += len(data)
        self.head = head

    def close(self) -> None:
        """Closes the file; `open` goes on."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begin(self, first: int) -> None:
        path = self._folder / f"{self._stem}-{first:0{_DIGITS}d}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.close()
        self._descriptor, self._size = descriptor, 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def segments(folder: Path, stem: str) -> list[Path]:
    """The files of a chain in order."""
    return sorted(folder.glob(f"{stem}-{'[0-9]' * _DIGITS}.jsonl"))


def lines_after(folder: Path, stem: str, after: int) -> Iterator[Line]:
    """The lines of a chain from record `after` + 1 on, whole lines only, as they stand on the disk.

    Counted by their place, from the number in the file's name. Raises OSError.
    """
    files = segments(folder, stem)
    firsts = [int(path.stem.removeprefix(f"{stem}-")) for path in files]
    for position, path in enumerate(files):
        if position + 1 < len(files) and firsts[position + 1] <= after + 1:
            continue
        with path.open("rb") as file:
            for place, text in enumerate(_whole_lines(file), start=1):
                number = firsts[position] + place - 1
                if number > after:
                    yield Line(number, text, path, place)


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """What stands before each line break, the first LINE_BYTES of it."""
    while kept := file.readline(LINE_BYTES + 1):
        rest = kept
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES + 1)
        if rest:
            yield kept[:-1]


def _end_of(path: Path, data: bytes, start: Head) -> tuple[Head, int]:
    """The head after the last whole record of a file, and the size up to it."""
    head, size, end = start, 0, data.rfind(b"\n") + 1
    lines = data[:end].split(b"\n")[:-1]
    for position, line in enumerate(lines):
        try:
            # Whether the first record follows the file before is for `verify`; the others are followed here.
            first = not size and number_of(line) != start.length + 1
            head = head_of(line) if first else follow(head, line)
        except AuditBroken as broken:
            if any(number_of(later) > head.length for later in lines[position + 1 :]):
                where = Line(broken.number, line, path, position + 1).where
                raise AuditBroken(broken.number, f"{broken.problem} ({where})") from None
            break
        size += len(line) + 1
    return head, size


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
