"""A folder of key files, each consumed once, whatever crashes.

    <key_ID>.json    waits to be drawn or collected
    <key_ID>.taken   being consumed; one that is found was left by a crash and is erased unused
    spent            ids of all keys ever taken, one a line, in lower case; a key that comes again is refused

Ordering: a file is read and judged, then renamed, then its id is durable in `spent`, then its content is
overwritten and its name removed, and only then does the key leave. A crash at any point loses the key at
this end but never gives it out twice. One process or task at a time works in the folder, by a lock on `spent`.

The folder must be this user's with no access for others (0700), each file this user's with 0600, and no
symbolic link. Left out: media that keep overwritten blocks (flash, journalled data, snapshots): erasing there
takes an encrypted disk.
"""

import errno
import fcntl
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qkms_qkd.errors import LinkError, LinkErrorCode
from qkms_qkd.keyfiles.reading import MAX_FILE_BYTES, SUFFIX, is_key_id, read_key

TAKEN = ".taken"
SPENT = "spent"


class KeyFolder:
    """The key files in `path`; `source` names them in errors. Every method raises LinkError and nothing else."""

    def __init__(self, source: str, path: Path) -> None:
        self._source = source
        self._path = path

    def count(self, wanted: Callable[[str], bool]) -> int:
        """How many unspent keys have an id that is `wanted` and a file as it must be, contents unseen."""
        with self._opened() as folder:
            return sum(self._is_fit(folder, key_id) for key_id in folder.waiting() if wanted(key_id))

    def take_any(self, number: int, size_bits: int, wanted: Callable[[str], bool]) -> list[tuple[str, bytes]]:
        """`number` keys of `size_bits` whose id is `wanted`, consumed; all or none."""
        with self._opened() as folder:
            found: list[_Found] = []
            trouble = ""
            for key_id in folder.waiting():
                if len(found) == number:
                    break
                if not wanted(key_id):
                    continue
                try:
                    found.append(self._read(folder, key_id, size_bits))
                except LinkError as error:
                    trouble = trouble or f"; {error.message}"
            if len(found) < number:
                raise self._error(
                    "STORE_EXHAUSTED",
                    f"{self._path} has {len(found)} fit key files where {number} are needed{trouble}",
                )
            return [(one.key_id, folder.consume(one)) for one in found]

    def take(self, key_ids: Sequence[str], size_bits: int) -> list[tuple[str, bytes]]:
        """The keys of these ids, consumed; all or none."""
        with self._opened() as folder:
            found = [self._read(folder, key_id, size_bits) for key_id in key_ids]
            if len({one.key_id.lower() for one in found}) != len(found):
                raise self._error("KEY_REPLAYED", "a key is asked for twice at once; a key serves once")
            return [(one.key_id, folder.consume(one)) for one in found]

    @contextmanager
    def _opened(self) -> Iterator["_Folder"]:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        try:
            place = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                self._check(os.fstat(place), str(self._path), "0700")
                spent = os.open(SPENT, flags, 0o600, dir_fd=place)
                try:
                    self._check(os.fstat(spent), f"{self._path / SPENT}", "0600")
                    fcntl.flock(spent, fcntl.LOCK_EX)
                    folder = _Folder(place, spent)
                    folder.clear_leftovers()
                    yield folder
                finally:
                    os.close(spent)
            finally:
                os.close(place)
        except OSError as error:
            raise self._error(
                "KEY_FILE_REFUSED", f"{self._path}: {error.strerror}; check the folder, its disk and its owner"
            ) from error

    def _read(self, folder: "_Folder", key_id: str, size_bits: int) -> "_Found":
        """The key, judged and not yet consumed."""
        if not is_key_id(key_id):
            raise self._error("KEY_NOT_FOUND", "a key_ID is not one that a key file can have")
        if key_id.lower() in folder.spent:
            raise self._error("KEY_REPLAYED", f"key {key_id} was used before; remove its file")
        names = folder.names_of(key_id)
        if not names:
            raise self._error("KEY_NOT_FOUND", f"{self._path} has no file of key {key_id}")
        if len(names) > 1:
            raise self._error("KEY_REPLAYED", f"key {key_id} has {len(names)} files; leave one")
        name = names[0]
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder.place)
        except OSError as error:
            raise self._error("KEY_FILE_REFUSED", f"{self._path / name}: {error.strerror}") from None
        try:
            seen = os.fstat(file)
            self._check(seen, str(self._path / name), "0600")
            content = os.read(file, MAX_FILE_BYTES)
        finally:
            os.close(file)
        found_id = name.removesuffix(SUFFIX)
        return _Found(found_id, seen.st_ino, read_key(self._source, found_id, content, size_bits))

    def _is_fit(self, folder: "_Folder", key_id: str) -> bool:
        names = folder.names_of(key_id)
        try:
            for name in names:
                self._check(os.stat(name, dir_fd=folder.place, follow_symlinks=False), name, "0600")
        except (LinkError, OSError):
            return False
        return len(names) == 1

    def _check(self, seen: os.stat_result, name: str, mode: str) -> None:
        """Raises LinkError unless it is a folder or plain file of ours that nobody else can reach."""
        if not (stat.S_ISDIR(seen.st_mode) if mode == "0700" else stat.S_ISREG(seen.st_mode)):
            raise self._error("KEY_FILE_REFUSED", f"{name} is not a plain file or folder")
        if seen.st_uid != os.geteuid():
            raise self._error(
                "KEY_FILE_REFUSED", f"{name} belongs to user {seen.st_uid}; it must be user {os.geteuid()}'s"
            )
        if seen.st_mode & 0o077:
            raise self._error(
                "KEY_FILE_REFUSED",
                f"{name} is open to others (mode {stat.S_IMODE(seen.st_mode):04o}): what it holds may be known "
                f"to them; discard it, and give new ones mode {mode}",
            )

    def _error(self, code: LinkErrorCode, message: str) -> LinkError:
        return LinkError(self._source, code, message)


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    key_id: str
    inode: int
    key: bytes


class _Folder:
    """The folder under its lock; `place` and `spent_file` are open descriptors."""

    def __init__(self, place: int, spent_file: int) -> None:
        self.place = place
        self._spent_file = spent_file
        lines = _whole(spent_file)
        if lines and not lines.endswith(b"\n"):
            # A crash tore the last line: its key had not left yet.
            os.write(spent_file, b"\n")
        self.spent = set(lines.decode("ascii", "replace").split())
        self._names = sorted(os.listdir(place))
        self._count = Counter(name.lower() for name in self._names)

    def waiting(self) -> list[str]:
        """Ids of the unspent keys that have one file, in order."""
        ids = [name.removesuffix(SUFFIX) for name in self._names if name.endswith(SUFFIX)]
        return [
            key_id
            for key_id in ids
            if is_key_id(key_id)
            and key_id.lower() not in self.spent
            and self._count[f"{key_id}{SUFFIX}".lower()] == 1
        ]

    def names_of(self, key_id: str) -> list[str]:
        """The files whose name is this id in any case."""
        wanted = f"{key_id}{SUFFIX}".lower()
        return [name for name in self._names if name.lower() == wanted] if self._count[wanted] else []

    def consume(self, found: _Found) -> bytes:
        """The key, when its file is gone and its id durably spent."""
        taken = found.key_id + TAKEN
        os.rename(found.key_id + SUFFIX, taken, src_dir_fd=self.place, dst_dir_fd=self.place)
        os.fsync(self.place)
        self._spend(found.key_id)
        replaced = os.stat(taken, dir_fd=self.place, follow_symlinks=False).st_ino != found.inode
        self._erase(taken)
        if replaced:
            raise OSError(0, f"the file of key {found.key_id} was exchanged while it was read")
        return found.key

    def clear_leftovers(self) -> None:
        """Erases what a crash left half consumed."""
        for name in self._names:
            if name.endswith(TAKEN) and is_key_id(name.removesuffix(TAKEN)):
                self._spend(name.removesuffix(TAKEN))
                self._erase(name)

    def _spend(self, key_id: str) -> None:
        if key_id.lower() not in self.spent:
            line = f"{key_id.lower()}\n".encode()
            if os.write(self._spent_file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._spent_file)
            self.spent.add(key_id.lower())

    def _erase(self, name: str) -> None:
        try:
            file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=self.place)
        except OSError:
            # A link or something that is not ours to write: only the name can go.
            os.unlink(name, dir_fd=self.place)
        else:
            try:
                os.write(file, bytes(min(os.fstat(file).st_size, MAX_FILE_BYTES)))
                os.fsync(file)
            finally:
                os.close(file)
            os.unlink(name, dir_fd=self.place)
        os.fsync(self.place)


def _whole(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        reader.seek(0)
        return reader.read()
