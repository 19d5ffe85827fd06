"""What stands for `os`, `open` and paths while a simulation runs: the same calls, on simulated disks.

Paths are `/simulated/<node>/...`; the node names the disk. A call that is not
here does not exist for the code under test, so nothing reaches the real disk.
"""

import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any

from qkms_chaos.simulation.disk import Disk, Inode

ROOT = "/simulated"


@dataclass(frozen=True)
class _Opened:
    disk: Disk
    inode: Inode | None  # None: a folder
    name: str


class SystemCalls:
    """Stands for the `os` module in the modules under test."""

    O_RDONLY, O_RDWR, O_CREAT, O_TRUNC = os.O_RDONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC
    O_CLOEXEC, O_DIRECTORY = os.O_CLOEXEC, os.O_DIRECTORY

    def __init__(self, disks: dict[str, Disk]) -> None:
        self._disks = disks
        self._opened: dict[int, _Opened] = {}
        self._next = 100_000
        self.path = SimpleNamespace(exists=self.exists, isfile=self.exists)

    def disk(self, name: str) -> Disk:
        """The disk that `name` lies on."""
        parts = name.split("/", 3)
        if len(parts) < 3 or f"/{parts[1]}" != ROOT:
            raise AssertionError(f"{name} is not on a simulated disk")
        return self._disks[parts[2]]

    def forget(self, disk: Disk) -> None:
        """The process that used `disk` is gone, and its descriptors with it."""
        self._opened = {number: opened for number, opened in self._opened.items() if opened.disk is not disk}

    # As in os.

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        name = str(path)
        disk = self.disk(name)
        inode: Inode | None = None
        if not flags & os.O_DIRECTORY:
            if flags & os.O_CREAT and name not in disk.names:
                inode = disk.create(name)
            else:
                inode = disk.lookup(name)
                if flags & os.O_TRUNC:
                    disk.resize(inode, 0, shrink=True)
        self._next += 1
        self._opened[self._next] = _Opened(disk, inode, name)
        return self._next

    def close(self, descriptor: int) -> None:
        if self._opened.pop(descriptor, None) is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        _, inode = self._file(descriptor)
        return bytes(inode.data[offset : offset + size])

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        disk, inode = self._file(descriptor)
        disk.write(inode, offset, bytes(data))
        return len(data)

    def ftruncate(self, descriptor: int, size: int) -> None:
        disk, inode = self._file(descriptor)
        disk.resize(inode, size, shrink=True)

    def posix_fallocate(self, descriptor: int, offset: int, size: int) -> None:
        disk, inode = self._file(descriptor)
        disk.resize(inode, offset + size, shrink=False)

    def fstat(self, descriptor: int) -> Any:
        return SimpleNamespace(st_size=len(self._file(descriptor)[1].data))

    def fsync(self, descriptor: int) -> None:
        opened = self._at(descriptor)
        if opened.inode is None:
            opened.disk.sync_folder(opened.name)
        else:
            opened.disk.sync(opened.inode)

    fdatasync = fsync

    def rename(self, source: str | Path, target: str | Path) -> None:
        self.disk(str(source)).move(str(source), str(target))

    def exists(self, path: str | Path) -> bool:
        return str(path) in self.disk(str(path)).names

    def _at(self, descriptor: int) -> _Opened:
        opened = self._opened.get(descriptor)
        if opened is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return opened

    def _file(self, descriptor: int) -> tuple[Disk, Inode]:
        opened = self._at(descriptor)
        opened.disk.require_alive()
        if opened.inode is None:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        return opened.disk, opened.inode


class OpenFile(io.RawIOBase):
    """What the built-in `open` gives in binary modes, unbuffered."""

    def __init__(self, calls: SystemCalls, path: str | Path, mode: str) -> None:
        super().__init__()
        flags = {"rb": 0, "r+b": os.O_RDWR, "wb": os.O_CREAT | os.O_TRUNC, "ab": os.O_CREAT}[mode]
        self._calls = calls
        self._writes = mode != "rb"
        self._descriptor = calls.open(path, flags)
        self._position = self._size() if mode == "ab" else 0

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return not self._writes

    def writable(self) -> bool:
        return self._writes

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._calls.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        written = self._calls.pwrite(self._descriptor, memoryview(data), self._position)
        self._position += written
        return written

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._position, self._size())[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            try:
                self._calls.close(self._descriptor)
            except OSError as error:
                if error.errno != errno.EBADF:  # its process was killed before
                    raise
        super().close()

    def _size(self) -> int:
        return int(self._calls.fstat(self._descriptor).st_size)


class SimulatedPath(PosixPath):
    """A path whose files lie on simulated disks. Use a subclass per simulation that sets `calls`."""

    calls: SystemCalls

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders need no creation here."""

    def iterdir(self) -> Iterator["SimulatedPath"]:  # type: ignore[override]
        disk = self.calls.disk(str(self))
        disk.require_alive()
        for name in sorted(disk.names):
            folder, _, last = name.rpartition("/")
            if folder == str(self):
                yield self / last

    def glob(self, pattern: str) -> Iterator["SimulatedPath"]:  # type: ignore[override]
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def exists(self) -> bool:
        return self.calls.exists(self)

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        self.calls.close(self.calls.open(self, os.O_CREAT, mode))

    def unlink(self, missing_ok: bool = False) -> None:
        self.calls.disk(str(self)).remove(str(self))

    def replace(self, target: Any) -> "SimulatedPath":
        self.calls.rename(self, target)
        return type(self)(target)

    def read_bytes(self) -> bytes:
        return bytes(self.calls.disk(str(self)).lookup(str(self)).data)

    def open(self, mode: str = "r", *_: Any, **__: Any) -> Any:
        return OpenFile(self.calls, self, mode)


def path_on(calls: SystemCalls, node: str) -> SimulatedPath:
    """The root folder of `node` on its disk."""
    bound: type[SimulatedPath] = type("BoundPath", (SimulatedPath,), {"calls": calls})
    return bound(f"{ROOT}/{node}")
