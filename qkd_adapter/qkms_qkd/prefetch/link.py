"""A link through one KME that draws ahead of need, and serves from what it has. Satisfies Link.

Only keys of one size are kept. Below the low water mark it draws in the background until there are as many as the
high mark says; it looks at every `status` and after every draw. What it cannot serve, a larger draw or another
size, goes to the KME. It draws, ahead or not, only what the oversight allows by a status just seen, and leaves
`reserve` keys of the KME's store. When the KME gives no status while keys wait here, the status is of these, with
the `failure`.

The peer's KME holds the other half of a key from when it was drawn, and no longer than it is set to: `max_age_s`
must be shorter, or the peer finds no key. Left out: keys for the slave, which only the master can name.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from qkms_qkd.errors import LinkError
from qkms_qkd.link import Link, LinkStatus, QkdKey
from qkms_qkd.oversight import Oversight
from qkms_qkd.prefetch.rows import Place
from qkms_qkd.prefetch.store import PrefetchError, PrefetchStore

log = structlog.get_logger(__name__)

BATCH = 32
# After a failure nothing is drawn ahead for so long: on a full disk each attempt loses keys.
PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Marks:
    """Below `low` keys it is filled up to `high`; keys held for over `max_age_s` seconds are not used."""

    low: int
    high: int
    max_age_s: float
    reserve: int = 0
    size_bits: int = 256


class PrefetchLink:
    """Serves the link `link` to the KME of `place` from `store`, which outlives it."""

    def __init__(
        self,
        link: Link,
        place: Place,
        store: PrefetchStore,
        marks: Marks,
        oversight: Oversight,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.peer_sae = link.peer_sae
        self._link = link
        self._place = place
        self._store = store
        self._marks = marks
        self._oversight = oversight
        self._monotonic_s = monotonic_s
        self._paused_until_s = 0.0
        self._trouble = ""
        self._filling: asyncio.Task[None] | None = None

    async def status(self) -> LinkStatus:
        """What the KME says, and how many keys wait here. Raises LinkError when there is neither."""
        held = await self._held()
        try:
            status = await self._link.status()
        except LinkError as error:
            if not held:
                raise
            return self._own_status(held, error)
        self._fill_soon(held)
        return replace(status, prefetched=held)

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        """Exactly `number` keys of `size_bits`, from here or all from the KME. Raises LinkError."""
        if size_bits != self._marks.size_bits:
            return await self._draw(number, size_bits)
        keys = await self._taken(number)
        self._fill_soon(await self._held())
        return keys or await self._draw(number, size_bits)

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        """As the link: the master has drawn them. Raises LinkError."""
        return await self._link.collect(key_ids, size_bits)

    async def close(self) -> None:
        """Ends drawing ahead and closes the link; what waits stays."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        await self._link.close()

    async def _draw(self, number: int, size_bits: int) -> list[QkdKey]:
        self._judged(await self._link.status())
        return await self._link.draw(number, size_bits)

    def _judged(self, status: LinkStatus) -> LinkStatus:
        why = self._oversight.refusal(self._place.kme, status)
        if why is not None:
            raise why
        return status

    async def _taken(self, number: int) -> list[QkdKey]:
        try:
            return await self._store.take(self._place, number, self._marks.size_bits, self._marks.max_age_s)
        except PrefetchError as error:
            self._pause(error.code, str(error))
            return []

    async def _held(self) -> int:
        try:
            return await self._store.count(self._place, self._marks.size_bits, self._marks.max_age_s)
        except PrefetchError as error:
            self._pause(error.code, str(error))
            return 0

    def _own_status(self, held: int, error: LinkError) -> LinkStatus:
        return LinkStatus(
            peer_sae=self.peer_sae,
            source_kme=self._place.kme,
            target_kme="",
            key_size=self._marks.size_bits,
            stored_key_count=None,
            max_key_count=None,
            max_key_per_request=1,
            prefetched=held,
            failure=error,
        )

    def _fill_soon(self, held: int) -> None:
        busy = self._filling is not None and not self._filling.done()
        paused = self._monotonic_s() < self._paused_until_s
        if held < self._marks.low and not busy and not paused and not self._store.locked:
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        # Counted anew: another filling may have ended since.
        held = await self._held()
        try:
            while held < self._marks.high and not self._store.locked:
                number = self._affordable(self._judged(await self._link.status()), held)
                asked_s = self._store.clock_s()
                keys = await self._link.draw(number, self._marks.size_bits)
                self._oversight.drew(self._place.kme, number, self._marks.size_bits)
                await self._store.put(self._place, keys, asked_s)
                held += number
            self._trouble = ""
        except (LinkError, PrefetchError) as error:
            self._pause(error.code, str(error))

    def _affordable(self, status: LinkStatus, held: int) -> int:
        """How many keys the next request asks for."""
        wanted = min(self._marks.high - held, BATCH, status.max_key_per_request)
        stored = status.stored_key_count
        spare = wanted if stored is None else stored - self._marks.reserve
        return max(1, min(wanted, spare))

    def _pause(self, code: str, reason: str) -> None:
        if code != self._trouble:
            log.warning("prefetch.paused", kme=self._place.kme, peer=self.peer_sae, code=code, reason=reason)
        self._trouble = code
        self._paused_until_s = self._monotonic_s() + PAUSE_S
