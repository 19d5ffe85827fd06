"""Keys for SAEs: draw as master, collect as slave, each with the checks of ETSI GS QKD 014.

A draw reserves keys here, has the peer KME assign them to the slave, and only then delivers, so
that both ends hold a key before either gives it away. If the peer's answer is lost, both ends forget the
keys. Knows nothing of HTTP; errors say which answer of the standard they are.
"""

import time
from collections.abc import Mapping, Sequence

import structlog

from qkms_qkd.errors import LinkErrorCode
from qkms_qkd.etsi014.messages import KEYS_NOT_FOUND, SIZE_NOT_MULTIPLE_OF_8
from qkms_qkd.kme.channel import ChannelError, NotGreetedError
from qkms_qkd.kme.channel_messages import Assign, Parts
from qkms_qkd.kme.pool import KeyNotFoundError, NotNamedError, Pool, TooFewKeysError
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.worker import Worker
from qkms_qkd.link import QkdKey

log = structlog.get_logger(__name__)

_ATTEMPTS = 5


class RefusedError(Exception):
    """The request is wrong: status 400 with this message."""


class StrangerError(Exception):
    """The caller is no party of what it asks for: status 401 without a body."""


class UnavailableError(Exception):
    """The request is right but cannot be served now: status 503 with this message and our stable code."""

    def __init__(self, code: LinkErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Delivery:
    """Serves the SAEs of one KME."""

    def __init__(self, settings: Settings, pool: Pool, worker: Worker, links: Mapping[str, QuantumLink]) -> None:
        self._settings = settings
        self._pool = pool
        self._worker = worker
        self._links = links

    def link_to(self, caller: str, other: str) -> QuantumLink:
        """The link that joins the caller, an SAE of this KME, to another SAE. Raises RefusedError."""
        if other == caller:
            raise RefusedError("master and slave SAE shall differ")
        kme = self._settings.kme_of(other)
        if kme is None:
            raise RefusedError(f"SAE {other} is not known to KME {self._settings.kme.id}")
        link = self._links.get(kme)
        if link is None:
            raise RefusedError(f"there is no link from KME {self._settings.kme.id} to KME {kme} of SAE {other}")
        return link

    async def stored(self, link: QuantumLink) -> int:
        """How many keys of the default size may be drawn from this link."""
        return await self._worker.run(self._pool.free, link.peer)

    async def draw(self, master: str, slave: str, number: int, size_bits: int) -> list[QkdKey]:
        """`number` fresh keys of `size_bits` for `master`, held for `slave` at the peer.

        Raises RefusedError, UnavailableError.
        """
        link = self.link_to(master, slave)
        self._check_demand(number, size_bits)
        collided: set[str] = set()
        for _ in range(_ATTEMPTS):
            demand = Assign(master, slave, size_bits, [])
            deliveries = await self._reserve(link, demand, number, collided)
            if await self._assigned(link, Assign(master, slave, size_bits, deliveries), collided):
                return await self._deliver(deliveries)
        raise UnavailableError("STORE_EXHAUSTED", "keys are being drawn at both ends at once; ask again")

    async def collect(self, master: str, slave: str, key_ids: Sequence[str]) -> list[QkdKey]:
        """The keys of these ids that `master` drew for `slave`. Raises RefusedError, StrangerError."""
        if not 1 <= len(key_ids) <= self._settings.keys.max_per_request:
            raise RefusedError(f"key_IDs shall name 1 to {self._settings.keys.max_per_request} keys")
        if len(set(key_ids)) != len(key_ids):
            raise RefusedError("key_IDs shall not name a key twice")
        try:
            return await self._worker.run(self._pool.collect, master, slave, key_ids, time.time())
        except KeyNotFoundError:
            raise RefusedError(KEYS_NOT_FOUND) from None
        except NotNamedError:
            raise StrangerError from None

    async def hear_assign(self, link: QuantumLink, demand: Assign) -> tuple[list[str], list[str]]:
        """The peer drew keys for one of our SAEs: unknown and busy key ids, both empty when assigned.

        Raises StrangerError if the SAEs are not the peer's and ours.
        """
        own = self._settings.kme.id
        if self._settings.kme_of(demand.master) != link.peer or self._settings.kme_of(demand.slave) != own:
            raise StrangerError
        answer = await self._worker.run(self._pool.assign, link.peer, demand, not link.runs_model, time.time())
        return answer.unknown, answer.busy

    async def expire(self) -> None:
        """Deletes keys that nobody collected in time."""
        before_s = time.time() - self._settings.keys.max_uncollected_s
        if expired := await self._worker.run(self._pool.expire, before_s):
            log.warning("keys.expired", count=expired)

    def _check_demand(self, number: int, size_bits: int) -> None:
        keys = self._settings.keys
        if size_bits % 8:
            raise RefusedError(SIZE_NOT_MULTIPLE_OF_8)
        if not keys.min_size_bits <= size_bits <= keys.max_size_bits:
            raise RefusedError(f"size shall be from {keys.min_size_bits} to {keys.max_size_bits}")
        if not 1 <= number <= keys.max_per_request:
            raise RefusedError(f"number shall be from 1 to {keys.max_per_request}")

    async def _reserve(self, link: QuantumLink, demand: Assign, number: int, excluding: set[str]) -> list[Parts]:
        parity = 1 if link.runs_model else 0
        try:
            return await self._worker.run(self._pool.reserve, link.peer, demand, number, parity, excluding)
        except TooFewKeysError as error:
            raise UnavailableError(
                "STORE_EXHAUSTED",
                f"the store of the link to KME {link.peer} is exhausted: {error}; ask again later",
            ) from None

    async def _assigned(self, link: QuantumLink, demand: Assign, collided: set[str]) -> bool:
        """Whether the peer holds the reserved keys for the slave; if not they are free again or gone."""
        try:
            answer = await link.channel.assign(demand)
        except (ChannelError, NotGreetedError) as error:
            if isinstance(error, ChannelError) and not error.definite:
                await self._worker.run(self._pool.abandon, demand.deliveries)
            else:
                await self._worker.run(self._pool.release, demand.deliveries, ())
            log.warning("draw.peer_failed", peer=link.peer, reason=str(error))
            raise UnavailableError(
                "LINK_DOWN",
                f"KME {link.peer} does not answer, so a key cannot be held at both ends; ask again later",
            ) from error
        if not answer.unknown and not answer.busy:
            return True
        collided.update(answer.busy)
        await self._worker.run(self._pool.release, demand.deliveries, answer.unknown)
        return False

    async def _deliver(self, deliveries: list[Parts]) -> list[QkdKey]:
        try:
            return await self._worker.run(self._pool.deliver, deliveries, time.time())
        except KeyNotFoundError:
            await self._worker.run(self._pool.abandon, deliveries)
            raise UnavailableError(
                "STORE_EXHAUSTED", "the keys were discarded while being drawn; ask again"
            ) from None
