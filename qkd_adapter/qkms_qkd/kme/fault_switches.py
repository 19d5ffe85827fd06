"""The faults of one KME as a whole: which are on, also after a restart, and the clock that one of them sets wrong.

Ordering: faults are in the database before they take effect. Left out: what the others do to answers (see
`faulty_supply`), and the faults of links (see `quantum_link`).
"""

import time

import msgspec

from qkms_qkd.kme.database import Database
from qkms_qkd.kme.faults import KmeFaults
from qkms_qkd.kme.worker import Worker


class FaultSwitches:
    """To be made before the worker's first call: reads what the database keeps."""

    def __init__(self, database: Database, worker: Worker) -> None:
        self._database = database
        self._worker = worker
        kept = database.execute("SELECT faults FROM kme_faults")
        self.faults = msgspec.json.decode(kept[0]["faults"], type=KmeFaults) if kept else KmeFaults()

    def now_s(self) -> float:
        """Unix seconds by this KME's clock."""
        return time.time() + self.faults.clock_s

    async def set(self, faults: KmeFaults) -> None:
        """Exactly these faults from now on."""
        await self._worker.run(self._keep, faults)
        self.faults = faults

    def _keep(self, faults: KmeFaults) -> None:
        with self._database.transaction():
            self._database.execute("DELETE FROM kme_faults")
            self._database.execute("INSERT INTO kme_faults VALUES (?)", (msgspec.json.encode(faults).decode(),))
