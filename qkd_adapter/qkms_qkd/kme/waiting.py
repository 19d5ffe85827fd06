"""What waits at a KME for its SAEs: deliveries of direct links and relayed keys, collected alike.

Each method is one transaction over both stores (`pool`, `network.shares`).
"""

from collections.abc import Sequence

from qkms_qkd.kme.database import Database
from qkms_qkd.kme.network.shares import ShareStore
from qkms_qkd.kme.pool import KeyNotFoundError, Pool
from qkms_qkd.serving.supply import Supplied


class NotNamedError(Exception):
    """A key is here, but for another master and slave."""


class Waiting:
    """Keys drawn elsewhere for the SAEs of this KME."""

    def __init__(self, database: Database, pool: Pool, shares: ShareStore) -> None:
        self._database = database
        self._pool = pool
        self._shares = shares

    def collect(self, master: str, slave: str, delivery_ids: Sequence[str], now_s: float) -> list[Supplied]:
        """The keys that `master` drew for `slave`, deleted here; all or none.

        Raises KeyNotFoundError, NotNamedError.
        """
        with self._database.transaction():
            direct = {key_id: self._pool.holders(key_id) for key_id in delivery_ids}
            relayed = {key_id: self._shares.masters(key_id) for key_id in delivery_ids}
            if not all(direct[key_id] or relayed[key_id] for key_id in delivery_ids):
                raise KeyNotFoundError
            if any((master, slave) not in direct[key_id] + relayed[key_id] for key_id in delivery_ids):
                raise NotNamedError
            return [
                self._pool.take(key_id, now_s) if direct[key_id] else self._shares.take(key_id, slave, now_s)
                for key_id in delivery_ids
            ]

    def expire(self, before_s: float) -> int:
        """Deletes what came before this time and was never collected; how many rows."""
        return self._pool.expire(before_s) + self._shares.expire(before_s)
