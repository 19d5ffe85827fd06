"""Durable file operations: what must be on the platter before a name is trusted.

A file appears under its name only whole (written aside, fsynced, renamed, the
folder fsynced). Errors of the disk are raised, never retried: after a failed
fsync the kernel may have dropped the data, so trying again would lie.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path


class DiskFault(Exception):
    """The disk refused to store; the node must stop. The message names the file."""

    code = "DISK_FAULT"


class DataDirInUse(Exception):
    """Another process holds the data directory."""

    code = "DATA_DIR_IN_USE"


def sync_folder(folder: Path) -> None:
    """Makes creations, renames and removals in `folder` durable. Raises DiskFault."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise DiskFault(f"{folder}: cannot make the names in it durable: {error.strerror}") from error
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Creates `folder`, and what is missing above it, for this user alone and with a durable name.

    Also one that is there already: the process that made it may have been killed before its name was durable.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    with suppress(PermissionError):  # a folder above that this user may not open: it made nothing there
        sync_folder(folder.parent)


def publish(temporary: Path, target: Path) -> None:
    """Renames a file that is already fsynced, durably. Raises DiskFault."""
    try:
        temporary.replace(target)
    except OSError as error:
        raise DiskFault(f"{target}: cannot give a file this name: {error.strerror}") from error
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Removes a file; durable once its folder is synced. Raises DiskFault."""
    try:
        path.unlink()
    except OSError as error:
        raise DiskFault(f"{path}: cannot remove it: {error.strerror}") from error


def preallocate(descriptor: int, size: int) -> None:
    """Reserves `size` bytes so that a full disk shows here and not at a later write."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def write_all(descriptor: int, data: bytes, offset: int, path: Path) -> None:
    """Writes all of `data` at `offset` and makes it durable. Raises DiskFault."""
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset += written
            view = view[written:]
        os.fdatasync(descriptor)
    except OSError as error:
        raise DiskFault(f"{path}: cannot store {len(data)} bytes: {error.strerror}") from error


def free_bytes(folder: Path) -> int:
    """Free space for an unprivileged process on the disk of `folder`."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def lock_folder(folder: Path) -> int:
    """Takes the folder for this process until the descriptor is closed. Raises DataDirInUse."""
    make_folder(folder)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with suppress(OSError):
            os.close(descriptor)
        raise DataDirInUse(f"{folder} is in use by another process; stop it or use another data_dir") from error
    return descriptor
