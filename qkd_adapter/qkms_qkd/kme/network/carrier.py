"""One site of a route: takes shares out of the pads of one link, hides them under those of the next.

Trusted relaying: between two pads a share is in this process's memory, and never on its disk. Every hop waits for
the one behind it, so that the master's KME hears of success when the slave's KME holds the key.

Ordering: pads for the next link are reserved before those of the last one are taken, so that what has to fail for
want of keys costs none. Once something was hidden under pads they are forgotten at both ends if it failed.
"""

import time
from collections.abc import Mapping, Sequence

import structlog
from msgspec.structs import replace

from qkms_qkd.kme.channel import ChannelError
from qkms_qkd.kme.channel_messages import Parts
from qkms_qkd.kme.network.messages import Carry, CarryAnswer, Failure, FailureCode, Part, Probe, Reach
from qkms_qkd.kme.network.pads import PadStore, xor
from qkms_qkd.kme.network.shares import ShareStore
from qkms_qkd.kme.pool import KeyNotFoundError, Pool, TooFewKeysError, stored_keys
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.quotas import Pair
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.sharing import Sharing
from qkms_qkd.kme.worker import Worker
from qkms_qkd.serving.supply import RefusedError, StrangerError

log = structlog.get_logger(__name__)

_ATTEMPTS = 5
HOP_S = 0.5
"""How much less each site waits than the one before it: that one is to hear why this one gave up."""


class Carrier:
    """Passes on what sites send each other."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        pads: PadStore,
        shares: ShareStore,
        worker: Worker,
        links: Mapping[str, QuantumLink],
        sharing: Sharing,
    ) -> None:
        self._settings = settings
        self._own = settings.kme.id
        self._pool = pool
        self._pads = pads
        self._shares = shares
        self._worker = worker
        self._links = links
        self._sharing = sharing

    async def send(self, carry: Carry, shares: Sequence[bytes]) -> CarryAnswer:
        """Starts shares on their route, the parts of `carry` naming their deliveries only."""
        link = self._links[carry.route[1]]
        try:
            reserved = await self._reserve(link, carry)
        except TooFewKeysError as error:
            return self._failed(link, "STORE_EXHAUSTED", str(error))
        return await self._pass_on(link, carry, shares, reserved)

    async def hear_carry(self, link: QuantumLink, carry: Carry) -> CarryAnswer:
        """The site before this one on the route sends shares. Raises RefusedError, StrangerError."""
        onward = self._onward(link, carry.route)
        self._check(carry)
        if onward is None:
            return await self._arrive(link, carry)
        try:
            reserved = await self._reserve(onward, carry)
        except TooFewKeysError as error:
            return self._failed(onward, "STORE_EXHAUSTED", str(error))
        taken = await self._worker.run(
            self._pads.take, link.peer, carry.parts, carry.size_bits, not link.runs_model, self._worker.now_s()
        )
        if taken is None:
            await self._worker.run(self._pool.release, reserved, ())
            return CarryAnswer(pads_refused=True)
        self._count(link, carry)
        shares = [xor(part.sealed, pad) for part, pad in zip(carry.parts, taken.keys, strict=True)]
        log.info("relay.carried", route=carry.route, keys=len(shares))
        return await self._pass_on(onward, replace(carry, age_s=max(carry.age_s, taken.age_s)), shares, reserved)

    async def reach(self, route: Sequence[str], within_s: float) -> Reach:
        """How the links of a route stand that begins here."""
        link = self._links[route[1]]
        state = link.state()
        report = state.report if state.up else None
        near = Reach(
            await self._worker.run(self._pool.free, link.peer),
            state.up,
            report.qber if report else None,
            report.skr_bps if report else 0.0,
            (self._own, link.peer),
        )
        if len(route) == 2:
            return near
        try:
            return near.joined(await link.channel.probe(Probe(list(route), within_s)))
        except ChannelError as error:
            log.info("relay.probe_failed", peer=link.peer, reason=str(error))
            return Reach(0, False, None, 0.0, near.weakest)

    async def hear_probe(self, link: QuantumLink, probe: Probe) -> Reach:
        """The site before this one asks how the rest of the route stands. Raises RefusedError."""
        if self._onward(link, probe.route) is None:
            raise RefusedError("the route ends here")
        rest = probe.route[probe.route.index(self._own) :]
        return await self.reach(rest, max(HOP_S, probe.within_s - HOP_S))

    def _onward(self, link: QuantumLink, route: Sequence[str]) -> QuantumLink | None:
        """The link to the next site of the route; None when it ends here. Raises RefusedError."""
        network = self._settings.network
        place = route.index(self._own) if self._own in route else 0
        if network is None or place > network.max_relays + 1:
            raise RefusedError(f"KME {self._own} takes no keys that come so far ([network])")
        if place == 0 or route[place - 1] != link.peer or len(set(route)) < len(route):
            raise RefusedError("the route does not lead here, or twice to one site")
        if place == len(route) - 1:
            return None
        onward = self._links.get(route[place + 1])
        if onward is None:
            raise RefusedError(f"KME {self._own} has no link to the next site of the route")
        return onward

    def _check(self, carry: Carry) -> None:
        keys = self._settings.keys
        pads_each = stored_keys(carry.size_bits, keys.size_bits)
        named = [key_id for part in carry.parts for key_id in part.pads]
        if not 8 <= carry.size_bits <= keys.max_size_bits or carry.size_bits % 8:
            raise RefusedError(f"size_bits shall be a multiple of 8, at most {keys.max_size_bits}")
        if not 1 <= len(carry.parts) <= keys.max_per_request or not 0 <= carry.share < carry.shares:
            raise RefusedError(f"parts shall be 1 to {keys.max_per_request}, share below shares")
        if any(len(p.pads) != pads_each or len(p.sealed) * 8 != carry.size_bits for p in carry.parts):
            raise RefusedError("each part shall have the size, and as many pads as cover it")
        if len(set(named)) < len(named):
            raise RefusedError("a pad hides one share only")

    async def _arrive(self, link: QuantumLink, carry: Carry) -> CarryAnswer:
        kme_of = self._settings.kme_of
        if kme_of(carry.slave) != self._own or kme_of(carry.master) != carry.route[0]:
            raise StrangerError
        age_s = await self._worker.run(
            self._shares.arrive, link.peer, carry, not link.runs_model, self._worker.now_s()
        )
        if age_s is None:
            return CarryAnswer(pads_refused=True)
        self._count(link, carry)
        log.info("relay.arrived", route=carry.route, master=carry.master, slave=carry.slave, keys=len(carry.parts))
        return CarryAnswer(age_s)

    async def _reserve(self, link: QuantumLink, carry: Carry) -> list[Parts]:
        free = await self._worker.run(self._pool.free, link.peer)
        self._sharing.draw(link.peer, _pair(carry), self._need(carry), free, time.monotonic())
        return await self._worker.run(
            self._pads.reserve, link.peer, len(carry.parts), carry.size_bits, link.parity
        )

    def _count(self, link: QuantumLink, carry: Carry) -> None:
        self._sharing.count(link.peer, _pair(carry), self._need(carry), time.monotonic())

    def _need(self, carry: Carry) -> int:
        """Stored keys of each link."""
        return len(carry.parts) * stored_keys(carry.size_bits, self._settings.keys.size_bits)

    async def _pass_on(
        self, link: QuantumLink, carry: Carry, shares: Sequence[bytes], reserved: list[Parts]
    ) -> CarryAnswer:
        """Sends shares over a link, under other pads where the first are in use there."""
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    reserved = await self._reserve(link, carry)
                answer = await self._under(link, carry, shares, reserved)
            except (TooFewKeysError, KeyNotFoundError) as error:
                await self._worker.run(self._pool.abandon, reserved)
                return self._failed(link, "STORE_EXHAUSTED", str(error))
            except ChannelError as error:
                await self._worker.run(self._pool.abandon, reserved)
                return self._failed(link, "LINK_DOWN", str(error), certain=error.definite)
            if not answer.pads_refused and answer.failure is None:
                await self._worker.run(self._pads.spent, reserved)
                return answer
            await self._worker.run(self._pool.abandon, reserved)
            if answer.failure is not None:
                return answer
        return self._failed(link, "STORE_EXHAUSTED", "its keys are being drawn at both ends at once")

    async def _under(
        self, link: QuantumLink, carry: Carry, shares: Sequence[bytes], reserved: Sequence[Parts]
    ) -> CarryAnswer:
        pads = await self._worker.run(self._pads.open, reserved, carry.size_bits, self._worker.now_s())
        parts = [
            Part(part.delivery_id, hiding.key_ids, xor(share, pad))
            for part, share, hiding, pad in zip(carry.parts, shares, reserved, pads.keys, strict=True)
        ]
        age_s = max(carry.age_s, pads.age_s)
        within_s = max(HOP_S, carry.within_s - HOP_S)
        return await link.channel.carry(replace(carry, parts=parts, age_s=age_s, within_s=within_s))

    def _failed(self, link: QuantumLink, code: FailureCode, reason: str, certain: bool = True) -> CarryAnswer:
        log.warning("relay.failed", link=[self._own, link.peer], code=code, reason=reason)
        return CarryAnswer(failure=Failure(code, (self._own, link.peer), reason, certain))


def _pair(carry: Carry) -> Pair:
    return frozenset((carry.master, carry.slave))
