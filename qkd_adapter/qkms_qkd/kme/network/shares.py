"""Relayed keys at the slave's KME: shares as they come, the key when all are there.

Each method is one transaction on the table below, but for those that say otherwise. Left out: the way here
(`carrier`), and joining with keys of direct links (`Pool.collect`).
"""

import sqlite3
from collections.abc import Sequence
from functools import reduce

import msgspec

from qkms_qkd.kme.database import Database
from qkms_qkd.kme.network.messages import Carry
from qkms_qkd.kme.network.pads import PadStore, xor
from qkms_qkd.kme.network.route import relays
from qkms_qkd.kme.provenance import relayed
from qkms_qkd.serving.supply import Supplied

_TABLE = """
CREATE TABLE IF NOT EXISTS shares (
    delivery_id TEXT NOT NULL,
    slave TEXT NOT NULL,
    share INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    master TEXT NOT NULL,
    sealed BLOB NOT NULL,
    relays TEXT NOT NULL,
    distilled_s REAL NOT NULL,
    arrived_s REAL NOT NULL,
    PRIMARY KEY (delivery_id, slave, share)
);
"""


class ShareStore:
    """The shares that wait at one KME for its SAEs."""

    def __init__(self, database: Database, pads: PadStore) -> None:
        self._database = database
        self._pads = pads
        database.create(_TABLE)

    def arrive(self, peer: str, carry: Carry, yields: bool, now_s: float) -> float | None:
        """Takes the shares out of their pads and holds them for the slave; the age of the oldest pad (seconds).

        None, and nothing changed, when a pad is in use.
        """
        with self._database.transaction():
            pads = self._pads.taken(peer, carry.parts, carry.size_bits, yields, now_s)
            if pads is None:
                return None
            age_s = max(carry.age_s, pads.age_s)
            shares = [xor(part.sealed, pad) for part, pad in zip(carry.parts, pads.keys, strict=True)]
            self._hold(carry, shares, now_s - age_s, now_s)
        return age_s

    def put(self, carry: Carry, keys: Sequence[bytes], now_s: float) -> None:
        """Holds whole keys for a slave of the master's own KME."""
        with self._database.transaction():
            self._hold(carry, keys, now_s, now_s)

    def masters(self, delivery_id: str) -> list[tuple[str, str]]:
        """The master and slave of each whole key of this id. In the transaction of the caller."""
        rows = self._database.execute(
            "SELECT master, slave FROM shares WHERE delivery_id=? "
            "GROUP BY master, slave, shares HAVING COUNT(*) = shares",
            (delivery_id,),
        )
        return [(row["master"], row["slave"]) for row in rows]

    def take(self, delivery_id: str, slave: str, now_s: float) -> Supplied:
        """A whole key, deleted here. In the transaction of the caller."""
        rows = self._database.execute(
            "SELECT rowid, * FROM shares WHERE delivery_id=? AND slave=? ORDER BY share", (delivery_id, slave)
        )
        key = reduce(xor, [self._database.unseal(row["sealed"], _context(row)) for row in rows])
        self._database.erase("DELETE FROM shares WHERE rowid=?", [row["rowid"] for row in rows])
        age_s = now_s - min(row["distilled_s"] for row in rows)
        passed = [relay for row in rows for relay in msgspec.json.decode(row["relays"], type=list[str])]
        return relayed(delivery_id, key, age_s, passed, len(rows))

    def expire(self, before_s: float) -> int:
        """Deletes shares that came before this time, of keys never collected or never whole; how many."""
        with self._database.transaction():
            rows = self._database.execute("SELECT rowid FROM shares WHERE arrived_s<?", (before_s,))
            self._database.erase("DELETE FROM shares WHERE rowid=?", [row["rowid"] for row in rows])
        return len(rows)

    def _hold(self, carry: Carry, shares: Sequence[bytes], distilled_s: float, now_s: float) -> None:
        passed = msgspec.json.encode(relays(tuple(carry.route))).decode()
        for part, share in zip(carry.parts, shares, strict=True):
            context = f"{part.delivery_id} {carry.slave} {carry.share}"
            self._database.execute(
                "INSERT OR IGNORE INTO shares VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    part.delivery_id,
                    carry.slave,
                    carry.share,
                    carry.shares,
                    carry.master,
                    self._database.seal(context, share),
                    passed,
                    distilled_s,
                    now_s,
                ),
            )


def _context(row: sqlite3.Row) -> str:
    return f"{row['delivery_id']} {row['slave']} {row['share']}"
