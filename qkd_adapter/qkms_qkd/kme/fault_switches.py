"""The faults of one KME as a whole: which are on, also after a restart.

Ordering: faults are in the database before they take effect. Left out: what they do to answers (see
`faulty_supply`), and the faults of links (see `quantum_link`).
"""

import msgspec

from qkms_qkd.kme.database import Database
from qkms_qkd.kme.faults import KmeFaults
from qkms_qkd.kme.worker import Worker


class FaultSwitches:
    """To be made before the worker's first call: reads what the database keeps. Sets the worker's clock wrong."""

    def __init__(self, database: Database, worker: Worker) -> None:
        self._database = database
        self._worker = worker
        kept = database.execute("SELECT faults FROM kme_faults")
        self._take_effect(msgspec.json.decode(kept[0]["faults"], type=KmeFaults) if kept else KmeFaults())

    async def set(self, faults: KmeFaults) -> None:
        """Exactly these faults from now on."""
        await self._worker.run(self._keep, faults)
        self._take_effect(faults)

    def _take_effect(self, faults: KmeFaults) -> None:
        self.faults = faults
        self._worker.clock_off_s = faults.clock_s

    def _keep(self, faults: KmeFaults) -> None:
        with self._database.transaction():
            self._database.execute("DELETE FROM kme_faults")
            self._database.execute("INSERT INTO kme_faults VALUES (?)", (msgspec.json.encode(faults).decode(),))
