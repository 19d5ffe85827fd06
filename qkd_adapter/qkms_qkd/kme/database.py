"""The database of a KME: tables, opening, transactions. SQLite in WAL mode, one thread at a time.

    offered    distilled here, the peer has not confirmed that it holds the key
    free       both ends hold it; may be drawn from either end
    reserved   being drawn here; the peer is asked to assign it
    assigned   the peer's SAE drew it; waits here for the SAE of this KME
    discarding must be forgotten at both ends; the peer has not confirmed

    offered -> free -> reserved -> delivered (row deleted)
    offered | free | reserved -> assigned -> delivered or expired (row deleted)
    reserved -> free | discarding,  discarding -> (row deleted)

Ordering: a key is stored before it is offered and becomes free when the peer has stored it; a row is
deleted before its key leaves the process. A crash can lose a key but never deliver one twice.
"""

import sqlite3
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from qkms_qkd import secret_rows
from qkms_qkd.seal import Seal

DATABASE_NAME = "kme.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS store (store_id TEXT NOT NULL, proof BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS links (
    peer TEXT PRIMARY KEY,
    next_seq INTEGER NOT NULL DEFAULT 1,
    faults TEXT NOT NULL DEFAULT '{}',
    peer_store_id TEXT NOT NULL DEFAULT '',
    peer_seq INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS kme_faults (faults TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY,
    peer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    bits INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    distilled_s REAL NOT NULL,
    delivery_id TEXT,
    part INTEGER,
    size_bits INTEGER,
    master TEXT,
    slave TEXT,
    assigned_s REAL
);
CREATE INDEX IF NOT EXISTS keys_by_state ON keys (peer, state, seq);
CREATE INDEX IF NOT EXISTS keys_by_delivery ON keys (delivery_id);
"""


class Database:
    """One KME's key rows. `store_id` is drawn once per database and tells a new one from the old.

    Raises SealError when the key file is not the one the database was made with.
    """

    def __init__(self, data_dir: Path, seal: Seal, peers: Collection[str], key_bits: int) -> None:
        path = data_dir / DATABASE_NAME
        self._connection = secret_rows.opened(path)
        self._seal = seal
        self._dirty = False
        self.key_bits = key_bits
        try:
            self.store_id = self._open(peers)
        except BaseException:
            self._connection.close()
            raise

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """The rows of one statement."""
        return self._connection.execute(statement, values).fetchall()

    def execute_for(self, statement: str, ids: Collection[str | int]) -> None:
        """One statement with a single parameter, for each of these ids."""
        self._connection.executemany(statement, [(each,) for each in ids])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements within, or none."""
        with secret_rows.transaction(self._connection):
            yield

    def create(self, tables: str) -> None:
        """Makes tables that do not exist yet."""
        self._connection.executescript(tables)

    def seal(self, key_id: str, key: bytes) -> bytes:
        """The key as it is stored; bound to its id, so that rows cannot be swapped."""
        return self._seal.seal(key, key_id.encode())

    def unseal(self, sealed: bytes, key_id: str) -> bytes:
        """What `seal` made of a key. Raises SealError."""
        return self._seal.open(sealed, key_id.encode())

    def take(self, row: sqlite3.Row) -> bytes:
        """The key of a row, and the row is deleted. Raises SealError."""
        key = self.open(row)
        self.delete([row["key_id"]])
        return key

    def open(self, row: sqlite3.Row) -> bytes:
        """The key of a row that stays. Raises SealError."""
        return self.unseal(row["sealed"], row["key_id"])

    def delete(self, key_ids: Collection[str]) -> None:
        """Deletes rows; `scrub` takes them out of the log as well."""
        self.erase("DELETE FROM keys WHERE key_id=?", key_ids)

    def erase(self, statement: str, ids: Collection[str | int]) -> None:
        """As `execute_for`, for a statement that deletes what is secret."""
        self.execute_for(statement, ids)
        self._dirty = self._dirty or bool(ids)

    def scrub(self) -> None:
        """Empties the write-ahead log if rows were deleted since, so that no file holds them any more."""
        if self._dirty:
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._dirty = False

    def close(self) -> None:
        """Scrubs and closes."""
        self._dirty = True
        self.scrub()
        self._connection.close()

    def _open(self, peers: Collection[str]) -> str:
        """Tables, what a restart changes; the store's id."""
        self.create(_TABLES)
        with self.transaction():
            stored = self.execute("SELECT store_id, proof FROM store")
            store_id = str(stored[0]["store_id"]) if stored else uuid.uuid4().hex
            if stored:
                self._seal.open(stored[0]["proof"], store_id.encode())
            else:
                proof = self._seal.seal(b"", store_id.encode())
                self.execute("INSERT INTO store VALUES (?, ?)", (store_id, proof))
            for peer in peers:
                self.execute("INSERT OR IGNORE INTO links (peer) VALUES (?)", (peer,))
            # A draw that a crash interrupted may be known at the peer: neither end uses its keys again.
            self.execute("UPDATE keys SET state='discarding' WHERE state='reserved'")
            stale = self.execute(
                "SELECT key_id FROM keys WHERE bits<>? AND state IN ('offered', 'free')", (self.key_bits,)
            )
            self.delete([row["key_id"] for row in stale])
        return store_id
