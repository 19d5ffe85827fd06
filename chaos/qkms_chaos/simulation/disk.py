"""A disk with a page cache and a platter: only what was fsynced survives a power loss for certain.

A kill loses nothing that was written. A power loss keeps, of what was not
fsynced, any part in any order, by sectors; of names that were created, moved
or removed, a prefix per folder until that folder is fsynced. A disk can be
told to fill up, and to take the process down at its k-th change. Folders
themselves count as durable from their creation.
"""

import errno
import os
import random
from dataclasses import dataclass, field

SECTOR_BYTES = 512


class Killed(BaseException):
    """The process ends here, as by SIGKILL. Not an Exception, so that no handler of one survives it."""


@dataclass(frozen=True)
class _Write:
    offset: int
    data: bytes


@dataclass(frozen=True)
class _Resize:
    size: int
    shrink: bool


@dataclass(eq=False)
class Inode:
    """`data`: as processes see it. `platter`: as it is after a power loss, but for any part of `pending`."""

    data: bytearray = field(default_factory=bytearray)
    platter: bytearray = field(default_factory=bytearray)
    pending: list[_Write | _Resize] = field(default_factory=list)

    def change(self, change: _Write | _Resize) -> None:
        _carry_out(self.data, change)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            _carry_out(self.platter, change)
        self.pending.clear()

    def lose_power(self, rng: random.Random, survival: float) -> None:
        for change in self.pending:
            if isinstance(change, _Resize):
                if rng.random() < survival:
                    _carry_out(self.platter, change)
                continue
            for start in range(0, len(change.data), SECTOR_BYTES):
                if rng.random() < survival:
                    part = change.data[start : start + SECTOR_BYTES]
                    _carry_out(self.platter, _Write(change.offset + start, part))
        self.pending.clear()
        self.data = bytearray(self.platter)


def _carry_out(data: bytearray, change: _Write | _Resize) -> None:
    if isinstance(change, _Write):
        end = change.offset + len(change.data)
        if len(data) < end:
            data.extend(bytes(end - len(data)))
        data[change.offset : end] = change.data
    elif change.size > len(data):
        data.extend(bytes(change.size - len(data)))
    elif change.shrink:
        del data[change.size :]


@dataclass(frozen=True)
class _Naming:
    """`inode` None: the name is gone."""

    name: str
    inode: Inode | None
    also_gone: str | None = None

    def carry_out(self, names: dict[str, Inode]) -> None:
        if self.also_gone is not None:
            names.pop(self.also_gone, None)
        if self.inode is None:
            names.pop(self.name, None)
        else:
            names[self.name] = self.inode


class Disk:
    """The files of one node, by absolute name."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.capacity: int | None = None  # bytes; None: endless
        self.changes_left: int | None = None  # until the process is killed; None: never
        self.dead = False  # between a kill and the next start
        self._durable: dict[str, Inode] = {}
        self._pending: dict[str, list[_Naming]] = {}

    def is_clean(self, folder: str, suffix: str) -> bool:
        """Whether a power loss would take nothing away of the files in `folder` that end with `suffix`."""
        if any(naming.inode and naming.name.endswith(suffix) for naming in self._pending.get(folder, ())):
            return False
        return not any(
            inode.pending
            for name, inode in self.names.items()
            if name.endswith(suffix) and name.startswith(folder + "/")
        )

    def free_bytes(self) -> int:
        """Space left."""
        return 2**40 if self.capacity is None else max(0, self.capacity - self.used_bytes())

    def used_bytes(self) -> int:
        """Space taken."""
        return sum(len(inode.data) for inode in self.names.values())

    def wipe(self) -> None:
        """An empty disk takes its place."""
        self.names.clear()
        self._durable.clear()
        self._pending.clear()

    # What a process does.

    def lookup(self, name: str) -> Inode:
        """Raises FileNotFoundError."""
        self.require_alive()
        inode = self.names.get(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return inode

    def create(self, name: str) -> Inode:
        self._count()
        inode = Inode()
        self._rename(_Naming(name, inode))
        return inode

    def remove(self, name: str) -> None:
        self.lookup(name)
        self._count()
        self._rename(_Naming(name, None))

    def move(self, source: str, target: str) -> None:
        """Renames, replacing the target."""
        inode = self.lookup(source)
        self._count()
        self._rename(_Naming(target, inode, source))

    def write(self, inode: Inode, offset: int, data: bytes) -> None:
        """Raises OSError (ENOSPC)."""
        self._require_space(offset + len(data) - len(inode.data))
        if self.changes_left == 1:
            inode.change(_Write(offset, data[: len(data) // 2]))
        self._count()
        inode.change(_Write(offset, data))

    def resize(self, inode: Inode, size: int, *, shrink: bool) -> None:
        """Raises OSError (ENOSPC)."""
        self._require_space(size - len(inode.data))
        self._count()
        if shrink or size > len(inode.data):
            inode.change(_Resize(size, shrink))

    def sync(self, inode: Inode) -> None:
        self._count()
        inode.sync()

    def sync_folder(self, folder: str) -> None:
        self._count()
        for naming in self._pending.pop(folder, ()):
            naming.carry_out(self._durable)

    def require_alive(self) -> None:
        """Raises Killed: a process that was killed does nothing more, whatever it swallowed."""
        if self.dead:
            raise Killed

    # What happens to it.

    def lose_power(self, rng: random.Random) -> None:
        """The machine goes down; afterwards the files are what the platter holds."""
        survival = rng.choice((0.0, 0.0, 0.5, 0.9, 1.0))
        for folder in sorted(self._pending):
            pending = self._pending[folder]
            kept = len(pending) if survival == 1.0 else rng.randint(0, len(pending)) if survival else 0
            for naming in pending[:kept]:
                naming.carry_out(self._durable)
        self._pending.clear()
        self.names = dict(self._durable)
        for name in sorted(self.names):
            self.names[name].lose_power(rng, survival)

    def _rename(self, naming: _Naming) -> None:
        naming.carry_out(self.names)
        folder = naming.name.rpartition("/")[0]
        self._pending.setdefault(folder, []).append(naming)

    def _count(self) -> None:
        self.require_alive()
        if self.changes_left is not None:
            self.changes_left -= 1
            if self.changes_left <= 0:
                self.changes_left = None
                self.dead = True
                raise Killed

    def _require_space(self, growth: int) -> None:
        self.require_alive()
        if self.capacity is not None and growth > 0 and growth > self.free_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
