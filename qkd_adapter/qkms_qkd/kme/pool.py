"""What SAEs take out of a KME's store: reserve and deliver for the master, assign and take for the slave.

Each method is one transaction on the rows described in `database`, but for those that say otherwise. A
delivery larger than a stored key joins several keys (its parts), a smaller one cuts a key. Left out: asking the
peer (see `delivery`), and who may collect (see `waiting`).
"""

import sqlite3
import uuid
from collections.abc import Collection, Sequence

from qkms_qkd.kme.channel_messages import Assign, AssignAnswer, Parts
from qkms_qkd.kme.database import Database
from qkms_qkd.kme.provenance import described
from qkms_qkd.link import QkdKey
from qkms_qkd.serving.supply import Supplied

_ASSIGNABLE = frozenset({"offered", "free"})


class TooFewKeysError(Exception):
    """The pool has not the keys that are needed; the message says of how many."""


def stored_keys(size_bits: int, key_bits: int) -> int:
    """How many stored keys of `key_bits` one key of `size_bits` takes."""
    return -(-size_bits // key_bits)


class KeyNotFoundError(Exception):
    """A key_ID is not assigned to anybody here."""


class Pool:
    """The keys of every link of one KME."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def free(self, peer: str) -> int:
        """How many keys of this link may be drawn."""
        [row] = self._database.execute("SELECT COUNT(*) AS free FROM keys WHERE peer=? AND state='free'", (peer,))
        return int(row["free"])

    def reserve(
        self, peer: str, demand: Assign, number: int, parity: int, excluding: Collection[str]
    ) -> list[Parts]:
        """Takes free keys for `number` deliveries like `demand`. Raises TooFewKeysError.

        Keys whose seq has this parity come first: the two ends prefer different ones and seldom collide.
        """
        parts = stored_keys(demand.size_bits, self._database.key_bits)
        with self._database.transaction():
            rows = self._database.execute(
                "SELECT key_id FROM keys WHERE peer=? AND state='free' ORDER BY (seq % 2 = ?) DESC, seq",
                (peer, parity),
            )
            found = [row["key_id"] for row in rows if row["key_id"] not in excluding]
            if len(found) < number * parts:
                raise TooFewKeysError(f"{number * parts} stored keys are needed and {len(found)} are free")
            deliveries = [
                Parts(str(uuid.uuid4()) if parts > 1 else found[i * parts], found[i * parts : (i + 1) * parts])
                for i in range(number)
            ]
            for delivery in deliveries:
                self._mark("reserved", demand, delivery, None)
        return deliveries

    def release(self, deliveries: Collection[Parts], unknown_there: Collection[str]) -> None:
        """Gives reserved keys back, except those the peer does not hold: they are deleted.

        A key the peer drew meanwhile is no longer reserved and is left alone.
        """
        with self._database.transaction():
            for delivery in deliveries:
                reserved = [key_id for key_id in delivery.key_ids if self._is_reserved(key_id)]
                self._database.delete([key_id for key_id in reserved if key_id in unknown_there])
                self._database.execute_for("UPDATE keys SET state='free' WHERE key_id=?", reserved)

    def abandon(self, deliveries: Collection[Parts]) -> None:
        """Marks reserved keys for discarding at both ends: the peer may or may not have assigned them."""
        with self._database.transaction():
            for delivery in deliveries:
                self._database.execute_for(
                    "UPDATE keys SET state='discarding' WHERE key_id=? AND state='reserved'", delivery.key_ids
                )

    def assign(self, peer: str, demand: Assign, yields: bool, now_s: float) -> AssignAnswer:
        """Holds the peer's deliveries for their slave; repeating it changes nothing.

        `yields` says that this end gives way when both draw the same key at the same moment.
        """
        unknown: list[str] = []
        busy: list[str] = []
        with self._database.transaction():
            for delivery in demand.deliveries:
                for key_id in delivery.key_ids:
                    row = self._row(peer, key_id)
                    if row is None:
                        unknown.append(key_id)
                    elif not _assignable(row, demand, delivery, yields):
                        busy.append(key_id)
            if not unknown and not busy:
                for delivery in demand.deliveries:
                    self._mark("assigned", demand, delivery, now_s)
        return AssignAnswer(unknown, busy)

    def deliver(self, deliveries: Sequence[Parts], now_s: float) -> list[QkdKey]:
        """The reserved keys, deleted here. Raises KeyNotFoundError if one was discarded meanwhile."""
        with self._database.transaction():
            return [self._take(delivery.delivery_id, "reserved", now_s) for delivery in deliveries]

    def holders(self, delivery_id: str) -> list[tuple[str, str]]:
        """The master and slave of an assigned delivery, once; empty for an unknown one.

        In the transaction of the caller, as is `take`.
        """
        rows = self._database.execute(
            "SELECT DISTINCT master, slave FROM keys WHERE delivery_id=? AND state='assigned'", (delivery_id,)
        )
        return [(row["master"], row["slave"]) for row in rows]

    def take(self, delivery_id: str, now_s: float) -> Supplied:
        """An assigned delivery, deleted here."""
        return described(self._take(delivery_id, "assigned", now_s))

    def expire(self, before_s: float) -> int:
        """Deletes keys assigned before this time and never collected; how many."""
        with self._database.transaction():
            rows = self._database.execute(
                "SELECT key_id FROM keys WHERE state='assigned' AND assigned_s<?", (before_s,)
            )
            self._database.delete([row["key_id"] for row in rows])
        return len(rows)

    def _row(self, peer: str, key_id: str) -> sqlite3.Row | None:
        rows = self._database.execute("SELECT * FROM keys WHERE key_id=? AND peer=?", (key_id, peer))
        return rows[0] if rows else None

    def _is_reserved(self, key_id: str) -> bool:
        return bool(self._database.execute("SELECT 1 FROM keys WHERE key_id=? AND state='reserved'", (key_id,)))

    def _mark(self, state: str, demand: Assign, delivery: Parts, now_s: float | None) -> None:
        for part, key_id in enumerate(delivery.key_ids):
            self._database.execute(
                "UPDATE keys SET state=?, delivery_id=?, part=?, size_bits=?, master=?, slave=?, assigned_s=? "
                "WHERE key_id=?",
                (state, delivery.delivery_id, part, demand.size_bits, demand.master, demand.slave, now_s, key_id),
            )

    def _take(self, delivery_id: str, state: str, now_s: float) -> QkdKey:
        rows = self._database.execute(
            "SELECT * FROM keys WHERE delivery_id=? AND state=? ORDER BY part", (delivery_id, state)
        )
        key = b"".join(self._database.take(row) for row in rows)
        if not rows or len(key) * 8 < rows[0]["size_bits"]:
            raise KeyNotFoundError
        oldest_s = min(row["distilled_s"] for row in rows)
        return QkdKey(delivery_id, key[: rows[0]["size_bits"] // 8], max(0.0, now_s - oldest_s))


def _assignable(row: sqlite3.Row, demand: Assign, delivery: Parts, yields: bool) -> bool:
    if row["state"] in _ASSIGNABLE:
        return True
    if row["state"] == "reserved":
        return yields
    return bool(
        row["state"] == "assigned"
        and (row["delivery_id"], row["master"], row["slave"])
        == (delivery.delivery_id, demand.master, demand.slave)
    )
