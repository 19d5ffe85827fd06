"""What the link does with a KME's store: add distilled keys, exchange them, agree after a restart.

Each method is one transaction on the rows described in `database`. The running end numbers its keys;
the other end remembers the highest number it stored (per store of the running end) and ignores an offer
it had before, so that an offer may be repeated after any crash without bringing a used key back.
"""

import uuid
from collections.abc import Collection, Sequence

import msgspec

from qkms_qkd.kme.channel_messages import OfferedKey
from qkms_qkd.kme.database import Database
from qkms_qkd.kme.faults import Faults


class LinkStore:
    """The store as one link sees it."""

    def __init__(self, database: Database, peer: str) -> None:
        self._database = database
        self._peer = peer

    def stock(self) -> int:
        """How many keys wait to be drawn: offered and free."""
        [row] = self._database.execute(
            "SELECT COUNT(*) AS stock FROM keys WHERE peer=? AND state IN ('offered', 'free')", (self._peer,)
        )
        return int(row["stock"])

    def add(self, keys: Sequence[bytes], now_s: float) -> None:
        """Stores freshly distilled keys as offered."""
        with self._database.transaction():
            [row] = self._database.execute("SELECT next_seq FROM links WHERE peer=?", (self._peer,))
            first = int(row["next_seq"])
            for i, key in enumerate(keys):
                self._insert(str(uuid.uuid4()), first + i, "offered", key, now_s)
            self._database.execute("UPDATE links SET next_seq=? WHERE peer=?", (first + len(keys), self._peer))

    def offered(self, limit: int, now_s: float) -> list[OfferedKey]:
        """The oldest keys the peer has not confirmed."""
        rows = self._database.execute(
            "SELECT * FROM keys WHERE peer=? AND state='offered' ORDER BY seq LIMIT ?", (self._peer, limit)
        )
        return [
            OfferedKey(row["key_id"], row["seq"], self._database.open(row), max(0.0, now_s - row["distilled_s"]))
            for row in rows
        ]

    def confirm(self, key_ids: Collection[str]) -> None:
        """The peer holds these: they may be drawn."""
        with self._database.transaction():
            self._database.execute_for("UPDATE keys SET state='free' WHERE key_id=? AND state='offered'", key_ids)

    def accept(self, peer_store_id: str, keys: Sequence[OfferedKey], now_s: float) -> int:
        """Stores the keys of an offer that were not stored before; how many."""
        with self._database.transaction():
            [row] = self._database.execute("SELECT * FROM links WHERE peer=?", (self._peer,))
            highest = int(row["peer_seq"]) if row["peer_store_id"] == peer_store_id else 0
            new = [key for key in keys if key.seq > highest]
            for key in new:
                self._insert(key.key_id, key.seq, "free", key.key, now_s - key.age_s)
            self._database.execute(
                "UPDATE links SET peer_store_id=?, peer_seq=? WHERE peer=?",
                (peer_store_id, max([highest, *(key.seq for key in new)]), self._peer),
            )
        return len(new)

    def known(self) -> list[str]:
        """Ids of the keys held here and not assigned."""
        rows = self._database.execute(
            "SELECT key_id FROM keys WHERE peer=? AND state IN ('offered', 'free', 'reserved')", (self._peer,)
        )
        return [row["key_id"] for row in rows]

    def drop_unknown(self, known_there: Collection[str]) -> int:
        """Deletes free keys that the peer does not hold (it lost its store, or discarded them); how many."""
        there = frozenset(known_there)
        with self._database.transaction():
            rows = self._database.execute("SELECT key_id FROM keys WHERE peer=? AND state='free'", (self._peer,))
            gone = [row["key_id"] for row in rows if row["key_id"] not in there]
            self._database.delete(gone)
        return len(gone)

    def discarding(self) -> list[str]:
        """Ids that the peer must still be told to forget."""
        rows = self._database.execute(
            "SELECT key_id FROM keys WHERE peer=? AND state='discarding' LIMIT 1000", (self._peer,)
        )
        return [row["key_id"] for row in rows]

    def forget(self, key_ids: Collection[str]) -> None:
        """Deletes these keys of this link, in whatever state."""
        with self._database.transaction():
            rows = self._database.execute("SELECT key_id FROM keys WHERE peer=?", (self._peer,))
            asked = frozenset(key_ids)
            self._database.delete([row["key_id"] for row in rows if row["key_id"] in asked])

    def faults(self) -> Faults:
        """The faults set on this link; they outlive a restart, as a cut fibre does."""
        [row] = self._database.execute("SELECT faults FROM links WHERE peer=?", (self._peer,))
        return msgspec.json.decode(row["faults"], type=Faults)

    def set_faults(self, faults: Faults) -> None:
        """Remembers the faults."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE links SET faults=? WHERE peer=?", (msgspec.json.encode(faults).decode(), self._peer)
            )

    def _insert(self, key_id: str, seq: int, state: str, key: bytes, distilled_s: float) -> None:
        self._database.execute(
            "INSERT INTO keys (key_id, peer, seq, state, bits, sealed, distilled_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key_id, self._peer, seq, state, len(key) * 8, self._database.seal(key_id, key), distilled_s),
        )
