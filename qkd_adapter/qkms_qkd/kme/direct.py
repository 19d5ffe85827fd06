"""Keys of this KME's own links: drawn for a master here, held for a slave at the other end.

A draw reserves keys here, has the peer KME assign them to the slave, and only then delivers, so that both ends
hold a key before either gives it away. If the peer's answer is lost, both ends forget the keys. Left out: who may
draw, and what else there is when a link has no keys (see `delivery`).
"""

import time

import structlog
from msgspec.structs import replace

from qkms_qkd.kme.channel import ChannelError, NotGreetedError
from qkms_qkd.kme.channel_messages import Assign, AssignAnswer, Parts
from qkms_qkd.kme.pool import KeyNotFoundError, Pool, TooFewKeysError, stored_keys
from qkms_qkd.kme.provenance import described
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.quotas import Pair
from qkms_qkd.kme.sharing import OverShareError, Sharing
from qkms_qkd.kme.worker import Worker
from qkms_qkd.serving.supply import Delivered, UnavailableError

log = structlog.get_logger(__name__)

_ATTEMPTS = 5


class Direct:
    """Draws from links."""

    def __init__(self, pool: Pool, worker: Worker, sharing: Sharing, key_bits: int) -> None:
        self._pool = pool
        self._worker = worker
        self._sharing = sharing
        self._key_bits = key_bits

    async def stored(self, link: QuantumLink) -> int:
        """How many keys of the default size may be drawn from this link."""
        return await self._worker.run(self._pool.free, link.peer)

    async def draw(self, link: QuantumLink, master: str, slave: str, number: int, size_bits: int) -> Delivered:
        """Fresh keys for the master, held for the slave at the peer. Raises UnavailableError."""
        collided: set[str] = set()
        need = number * stored_keys(size_bits, self._key_bits)
        await self._admit(link, frozenset((master, slave)), need)
        for _ in range(_ATTEMPTS):
            assign = Assign(master, slave, size_bits, [])
            deliveries = await self._reserve(link, assign, number, collided)
            if await self._assigned(link, replace(assign, deliveries=deliveries), collided):
                return await self._deliver(deliveries)
        raise UnavailableError("STORE_EXHAUSTED", "keys are being drawn at both ends at once; ask again")

    async def hear_assign(self, link: QuantumLink, demand: Assign) -> AssignAnswer:
        """The peer drew keys for one of our SAEs."""
        now_s = self._worker.now_s()
        answer = await self._worker.run(self._pool.assign, link.peer, demand, not link.runs_model, now_s)
        if not answer.unknown and not answer.busy:
            drawn = sum(len(parts.key_ids) for parts in demand.deliveries)
            self._sharing.count(link.peer, frozenset((demand.master, demand.slave)), drawn, time.monotonic())
        return answer

    async def _admit(self, link: QuantumLink, pair: Pair, need: int) -> None:
        try:
            self._sharing.draw(link.peer, pair, need, await self.stored(link), time.monotonic())
        except OverShareError as error:
            raise UnavailableError(
                "STORE_EXHAUSTED",
                f"the link to KME {link.peer} gives no keys to this pair: {error}; ask again later",
            ) from None

    async def _reserve(self, link: QuantumLink, demand: Assign, number: int, excluding: set[str]) -> list[Parts]:
        try:
            return await self._worker.run(self._pool.reserve, link.peer, demand, number, link.parity, excluding)
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

    async def _deliver(self, deliveries: list[Parts]) -> Delivered:
        try:
            keys = await self._worker.run(self._pool.deliver, deliveries, self._worker.now_s())
        except KeyNotFoundError:
            await self._worker.run(self._pool.abandon, deliveries)
            raise UnavailableError(
                "STORE_EXHAUSTED", "the keys were discarded while being drawn; ask again"
            ) from None
        return Delivered([described(key) for key in keys])
