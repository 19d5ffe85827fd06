"""The rows of keys drawn ahead: one SQLite database in WAL mode, one thread at a time.

A key is taken by deleting its row, which is durable before the key is returned. A crash in between loses the key,
none is given out twice. What is older than the limit it is asked for with is deleted unused, and so is what comes
from the future of a clock that was set back.

Each row is sealed (AES-256-GCM) with all that names it as associated data: whoever can write the file can neither
exchange rows nor make a key younger. Methods raise sqlite3.Error and OSError.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from qkms_qkd.link import QkdKey
from qkms_qkd.seal import Seal, SealError
from qkms_qkd.secret_rows import opened, transaction

log = structlog.get_logger(__name__)

_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    kme TEXT NOT NULL,
    local_sae TEXT NOT NULL,
    peer_sae TEXT NOT NULL,
    key_id TEXT NOT NULL,
    bits INTEGER NOT NULL,
    drawn_s REAL NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (kme, local_sae, peer_sae, key_id)
)
"""
_INSERT = "INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)"
_ALL = "SELECT rowid, * FROM keys"
_OLDEST = (
    "SELECT rowid, * FROM keys WHERE kme=? AND local_sae=? AND peer_sae=? AND bits=? "
    "ORDER BY drawn_s, rowid LIMIT ?"
)
_COUNT = "SELECT COUNT(*) AS held FROM keys WHERE kme=? AND local_sae=? AND peer_sae=? AND bits=?"
_EXPIRED = "SELECT rowid FROM keys WHERE kme=? AND local_sae=? AND peer_sae=? AND NOT drawn_s BETWEEN ? AND ?"


class Place(NamedTuple):
    """Whose keys: drawn at this KME by this SAE for that one."""

    kme: str
    local_sae: str
    peer_sae: str


class _Content(msgspec.Struct, frozen=True):
    """What is sealed. `age_s`: since it was distilled when it was drawn, if the KME told; `slack_s`: how long that
    drawing took."""

    key: bytes
    age_s: float | None
    slack_s: float
    relays: tuple[str, ...]

    def __repr__(self) -> str:
        return "_Content(redacted)"


class KeyRows:
    """The database at `path`, made with mode 0600; one that is no database any more is begun anew."""

    def __init__(self, path: Path, clock_s: Callable[[], float]) -> None:
        self._path = path
        self._clock_s = clock_s
        try:
            self._database = _opened(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # of the disk, not of the content
                raise
            log.warning("prefetch.begun_anew", file=str(path), reason=str(error))
            for file in path.parent.glob(f"{path.name}*"):
                file.unlink()
            self._database = _opened(path)

    def discard_unreadable(self, seal: Seal) -> None:
        """Deletes what does not open under the seal."""
        lost = [row for row in self._execute(_ALL) if self._key(row, seal) is None]
        if lost:
            log.warning("prefetch.unreadable", count=len(lost), file=str(self._path))
            self._delete(lost)

    def count(self, place: Place, bits: int, max_age_s: float) -> int:
        """How many keys of this size there are, without those that are too old."""
        self._expire(place, max_age_s)
        [row] = self._execute(_COUNT, (*place, bits))
        return int(row["held"])

    def put(self, place: Place, keys: Sequence[QkdKey], asked_s: float, seal: Seal) -> None:
        """Keeps keys for which the KME was asked at `asked_s`, durably; of two with one id the first."""
        now_s = self._clock_s()
        slack_s = max(0.0, now_s - asked_s)
        rows = []
        for key in keys:
            bits = len(key.key) * 8
            content = msgspec.msgpack.encode(_Content(key.key, key.age_s, slack_s, key.relays))
            sealed = seal.seal(content, _context(place, key.key_id, bits, now_s))
            rows.append((*place, key.key_id, bits, now_s, sealed))
        with transaction(self._database):
            kept = self._database.executemany(_INSERT, rows).rowcount
        if kept != len(rows):
            log.warning("prefetch.key_came_twice", kme=place.kme, peer=place.peer_sae, count=len(rows) - kept)

    def take(self, place: Place, number: int, bits: int, max_age_s: float, seal: Seal) -> list[QkdKey]:
        """The `number` oldest keys, durably gone from here; none if there are fewer."""
        self._expire(place, max_age_s)
        rows = self._execute(_OLDEST, (*place, bits, number))
        if len(rows) < number:
            return []
        keys = [self._key(row, seal) for row in rows]
        if any(key is None for key in keys):
            self.discard_unreadable(seal)
            return self.take(place, number, bits, max_age_s, seal)
        self._delete(rows)
        return [key for key in keys if key is not None]

    def scrub(self) -> None:
        """Empties the write-ahead log, so that no file holds what was deleted."""
        with suppress(sqlite3.Error):
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Scrubs and closes."""
        self.scrub()
        self._database.close()

    def _key(self, row: sqlite3.Row, seal: Seal) -> QkdKey | None:
        """The key of a row; None when it does not open."""
        place = Place(row["kme"], row["local_sae"], row["peer_sae"])
        try:
            opened = seal.open(row["sealed"], _context(place, row["key_id"], row["bits"], row["drawn_s"]))
        except SealError:
            return None
        content = msgspec.msgpack.decode(opened, type=_Content)
        age_s = max(0.0, self._clock_s() - row["drawn_s"]) + (content.age_s or 0.0)
        return QkdKey(
            row["key_id"], content.key, age_s, content.relays, prefetched=True, age_slack_s=content.slack_s
        )

    def _expire(self, place: Place, max_age_s: float) -> None:
        now_s = self._clock_s()
        old = self._execute(_EXPIRED, (*place, now_s - max_age_s, now_s))
        if old:
            log.warning("prefetch.expired", kme=place.kme, peer=place.peer_sae, count=len(old))
            self._delete(old)

    def _delete(self, rows: Sequence[sqlite3.Row]) -> None:
        with transaction(self._database):
            self._database.executemany("DELETE FROM keys WHERE rowid=?", [(row["rowid"],) for row in rows])

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        return self._database.execute(statement, values).fetchall()


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = opened(path)
    try:
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def _context(place: Place, key_id: str, bits: int, drawn_s: float) -> bytes:
    return msgspec.msgpack.encode((*place, key_id, bits, drawn_s))
