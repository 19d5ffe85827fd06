"""The keys that a node has drawn ahead, for all its links, on a thread of their own (see `rows`).

Locked until its key is brought, and again as soon as it is to be forgotten: then it holds nothing and takes
nothing. It is a cache: what does not open under the key is deleted. Left out: defence against an older copy of
the whole file. A key of it would be given out again; the peer's KME has given its half away by then, so nobody
shares it.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from qkms_qkd.link import QkdKey
from qkms_qkd.prefetch.rows import KeyRows, Place
from qkms_qkd.seal import Seal

DATABASE_NAME = "prefetch.sqlite"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class PrefetchError(Exception):
    """The database could not be read or written; the message says why. Nothing was handed out."""

    code = "PREFETCH_STORE"


class PrefetchStore:
    """The database in `folder`. Methods raise PrefetchError. `clock_s`: Unix seconds."""

    def __init__(self, folder: Path, clock_s: Callable[[], float] = time.time) -> None:
        self._path = folder / DATABASE_NAME
        self.clock_s = clock_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._rows: KeyRows | None = None
        self._seal: Seal | None = None
        self._closed = False

    @property
    def locked(self) -> bool:
        """Whether the key is not here."""
        return self._seal is None

    async def unlock(self, key: bytes) -> None:
        """Opens the store under this key (32 bytes); what does not open under it is deleted."""
        await self._run(self._unlock, Seal(key))

    def lock(self) -> None:
        """Forgets the key, at once."""
        self._seal = None

    async def count(self, place: Place, bits: int, max_age_s: float) -> int:
        """How many keys of `bits` there are to be taken; those that are too old are deleted."""
        return await self._run(self._count, place, bits, max_age_s)

    async def put(self, place: Place, keys: Sequence[QkdKey], asked_s: float) -> None:
        """Keeps keys for which the KME was asked at `asked_s` (Unix seconds); on return they survive a crash."""
        await self._run(self._put, place, keys, asked_s)

    async def take(self, place: Place, number: int, bits: int, max_age_s: float) -> list[QkdKey]:
        """The `number` oldest keys that are not too old, gone from the disk; none if there are fewer.

        Their `age_s` counts on from what the KME told, or from when they were drawn if it told nothing.
        """
        taken = await self._run(self._take, place, number, bits, max_age_s)
        if not self._closed:
            # That no file holds the sealed row any more need not be waited for: its deletion is durable.
            self._thread.submit(self._scrub)
        return taken

    async def close(self) -> None:
        """Closes the database; what it holds stays."""
        self.lock()
        try:
            await self._run(self._close)
        finally:
            self._closed = True
            self._thread.shutdown()

    async def _run(
        self, method: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise PrefetchError(f"{self._path}: the node stops")
        try:
            return await loop.run_in_executor(self._thread, lambda: method(*arguments, **named))
        except (sqlite3.Error, OSError) as error:
            reason = f"{self._path}: {error}; check the disk, or remove the file: it only holds keys drawn ahead"
            raise PrefetchError(reason) from error

    def _unlock(self, seal: Seal) -> None:
        if self._rows is None:
            self._rows = KeyRows(self._path, self.clock_s)
        self._rows.discard_unreadable(seal)
        self._seal = seal

    def _count(self, place: Place, bits: int, max_age_s: float) -> int:
        if self._rows is None or self._seal is None:
            return 0
        return self._rows.count(place, bits, max_age_s)

    def _put(self, place: Place, keys: Sequence[QkdKey], asked_s: float) -> None:
        seal = self._seal
        if self._rows is not None and seal is not None:
            self._rows.put(place, keys, asked_s, seal)

    def _take(self, place: Place, number: int, bits: int, max_age_s: float) -> list[QkdKey]:
        seal = self._seal
        if self._rows is None or seal is None:
            return []
        return self._rows.take(place, number, bits, max_age_s, seal)

    def _scrub(self) -> None:
        if self._rows is not None:
            self._rows.scrub()

    def _close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None
