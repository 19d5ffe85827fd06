"""SQLite databases of rows that hold secrets: opened so that what is written stays, and what is deleted is gone.

Write-ahead log with a sync of each transaction, deleted content overwritten, nothing in temporary files. Left
out: sealing of the rows (see `seal`), and emptying the log, which only the owner knows when to do.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def opened(path: Path) -> sqlite3.Connection:
    """The database at `path`, made with mode 0600, for one thread at a time. Raises sqlite3.Error, OSError."""
    path.touch(mode=0o600, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # A key that was handed out must not come back after a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements within or none, durable on return."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
