"""Files that a crash leaves whole: the old or the new content under a name, never a mixture.

Below every layer. The engine has its own (`consensus.files`), which stops the node when a disk refuses.
"""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A new file in place of any at `path`, its mode from the first byte on, its content on disk; its name is
    durable once the folder is synced. Raises OSError."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Replaces `path` by `content` with mode 0600; a crash leaves the old or the new one. Raises OSError."""
    aside = path.with_name(path.name + ".new")
    write_durably(aside, content)
    aside.rename(path)
    sync_folder(path.parent)


def remove_durably(path: Path) -> None:
    """Removes `path` if it is there; on return it stays removed after a crash. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
