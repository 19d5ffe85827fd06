"""One-time pads: stored keys of a link that hide what the link carries, each used once.

Ordering: pads are reserved before anything is hidden by them and never given back afterwards, whatever became of
the message: who reads two messages under one pad has their XOR. The receiver deletes a pad as it takes it.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from qkms_qkd.kme.channel_messages import Assign, Parts
from qkms_qkd.kme.database import Database
from qkms_qkd.kme.network.messages import Part
from qkms_qkd.kme.pool import KeyNotFoundError, Pool


@dataclass(frozen=True, slots=True, repr=False)
class Pads:
    """A pad for each key that was asked for, as long as such a key; the oldest was distilled `age_s` ago."""

    keys: list[bytes]
    age_s: float


def xor(one: bytes, other: bytes) -> bytes:
    """Of two strings of the same length."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


class PadStore:
    """The store of a KME as relaying sees it."""

    def __init__(self, database: Database, pool: Pool) -> None:
        self._database = database
        self._pool = pool

    def reserve(self, peer: str, number: int, size_bits: int, parity: int) -> list[Parts]:
        """Takes free keys of a link as pads for `number` keys of this size. Raises TooFewKeysError."""
        return self._pool.reserve(peer, Assign("", "", size_bits, []), number, parity, ())

    def open(self, reserved: Sequence[Parts], size_bits: int, now_s: float) -> Pads:
        """Reserved pads, which stay reserved. Raises KeyNotFoundError if the peer drew one meanwhile."""
        keys, ages = [], [0.0]
        for parts in reserved:
            pad = b""
            for key_id in parts.key_ids:
                rows = self._database.execute("SELECT * FROM keys WHERE key_id=? AND state='reserved'", (key_id,))
                if not rows:
                    raise KeyNotFoundError
                pad += self._database.open(rows[0])
                ages.append(now_s - rows[0]["distilled_s"])
            keys.append(pad[: size_bits // 8])
        return Pads(keys, max(ages))

    def spent(self, reserved: Sequence[Parts]) -> None:
        """Deletes pads that the peer has taken."""
        with self._database.transaction():
            self._database.delete([key_id for parts in reserved for key_id in parts.key_ids])

    def take(self, peer: str, parts: Sequence[Part], size_bits: int, yields: bool, now_s: float) -> Pads | None:
        """The pads that the peer names, deleted here; None, and nothing changed, when one is in use.

        `yields` as in `Pool.assign`.
        """
        with self._database.transaction():
            return self.taken(peer, parts, size_bits, yields, now_s)

    def taken(self, peer: str, parts: Sequence[Part], size_bits: int, yields: bool, now_s: float) -> Pads | None:
        """As `take`, within the transaction of the caller."""
        states = {"offered", "free", "reserved"} if yields else {"offered", "free"}
        found = [[self._row(peer, key_id) for key_id in part.pads] for part in parts]
        rows = [row for pads in found for row in pads]
        if any(row is None or row["state"] not in states for row in rows):
            return None
        age_s = max((now_s - row["distilled_s"] for row in rows if row is not None), default=0.0)
        keys = [b"".join(self._database.take(row) for row in pads if row is not None) for pads in found]
        return Pads([key[: size_bits // 8] for key in keys], age_s)

    def _row(self, peer: str, key_id: str) -> sqlite3.Row | None:
        rows = self._database.execute("SELECT * FROM keys WHERE key_id=? AND peer=?", (key_id, peer))
        return rows[0] if rows else None
