"""Replacing a file so that a crash leaves the old or the new one whole."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Replaces `path` by `data` with mode 0600: written aside, fsynced, renamed, the folder fsynced."""
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.rename(path)
    sync_folder(path.parent)


def remove_durably(path: Path) -> None:
    """Removes `path` if it is there; on return it stays removed after a crash."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
