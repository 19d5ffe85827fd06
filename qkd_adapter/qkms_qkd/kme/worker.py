"""The one thread on which a KME touches its database, so that disk syncs do not stall the listeners; and the clock
that its rows go by.

Calls run one after another in the order they were made, which makes each method of the stores atomic.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from qkms_qkd.kme.database import Database

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Worker:
    """Runs store methods on the database's thread. `clock_off_s`: how wrong the KME's clock is (a fault)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kme-store")
        self.store_id = database.store_id
        self.clock_off_s = 0.0

    def now_s(self) -> float:
        """Unix seconds by the KME's clock."""
        return time.time() + self.clock_off_s

    async def run(
        self,
        method: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Result:
        """What `method(*arguments, **named)` returns or raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(*arguments, **named))

    async def scrub(self) -> None:
        """Takes deleted keys out of the write-ahead log."""
        await self.run(self._database.scrub)

    async def close(self) -> None:
        """Finishes what was asked and closes the database."""
        await self.run(self._database.close)
        self._thread.shutdown()
