"""One simulated link at one of its ends, running: distils keys, hands them to the peer, keeps both in step.

The end with the smaller KME id runs the model: keys are random bytes, their number and the QBER follow
the decoy-state figures (`production`), or both come of simulated pulses (`pulse_production`). No key is
distilled while the peer does not answer, as on a real link. Both ends tell each other which keys to forget.
Left out: who draws keys (see `delivery`).
"""

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from qkms_qkd.kme.channel import Channel, ChannelError, NotGreetedError
from qkms_qkd.kme.channel_messages import Hello, HelloAnswer, LinkReport, Offer
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.link_store import LinkStore
from qkms_qkd.kme.production import Production
from qkms_qkd.kme.settings import KeysSection, LinkSection
from qkms_qkd.kme.worker import Worker

if TYPE_CHECKING:
    from qkms_qkd.kme.pulse_production import PulseProduction

log = structlog.get_logger(__name__)

_OFFER_KEYS = 500
_IDLE_S = 1.0
_SILENCE_S = 5.0
"""Without word from the peer for this long the link counts as down: several rounds, even on a busy machine."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """The link as this end sees it; `report` is None before the first one."""

    up: bool
    running_end: bool
    report: LinkReport | None


class QuantumLink:
    """The link from KME `own_id` to `link.peer`."""

    def __init__(
        self, own_id: str, link: LinkSection, keys: KeysSection, store: LinkStore, worker: Worker, channel: Channel
    ) -> None:
        self.peer = link.peer
        self.runs_model = own_id < link.peer
        self.parity = 1 if self.runs_model else 0
        """Of the numbers of the keys that this end draws first: the two ends seldom collide."""
        self.channel = channel
        self._link = link
        self._keys = keys
        self._store = store
        self._worker = worker
        self._incarnation = uuid.uuid4().hex
        self._production = _production(link, keys)
        self._greeted = False
        self._greeted_by = ""
        self._peer_store_id = ""
        self._block_due_s = 0.0
        self._received: LinkReport | None = None
        self._heard_s = -_SILENCE_S
        self._wake = asyncio.Event()
        self._trouble = ""

    def state(self) -> LinkState:
        """Up means: the quantum channel is whole and the peer was heard lately."""
        report = self._report() if self.runs_model else self._received
        heard = time.monotonic() - self._heard_s < _SILENCE_S
        up = heard and report is not None and not report.faults.cut
        return LinkState(up, self.runs_model, report)

    async def run(self) -> None:
        """Works until cancelled."""
        if self.runs_model:
            self._production.set_faults(await self._worker.run(self._store.faults), time.monotonic())
        while True:
            pause_s = _IDLE_S
            try:
                pause_s = await self._round()
                self._note_trouble("")
            except NotGreetedError:
                self._greeted = False
                pause_s = 0.0
            except ChannelError as error:
                self._greeted = False
                self._note_trouble(str(error))
            await self._sleep(pause_s)

    async def set_faults(self, faults: Faults) -> LinkReport:
        """Puts faults on the link, through the peer if that one runs the model. Raises ChannelError."""
        if not self.runs_model:
            self._received = await self.channel.set_faults(faults)
            return self._received
        await self._worker.run(self._store.set_faults, faults)
        self._production.set_faults(faults, time.monotonic())
        self._wake.set()
        log.warning("link.faults_set", peer=self.peer, **_fields(faults))
        return self._report()

    async def hear_hello(self, hello: Hello) -> HelloAnswer:
        """The running end introduces itself: agree on the keys both hold."""
        dropped = await self._worker.run(self._store.drop_unknown, hello.known)
        known = await self._worker.run(self._store.known)
        self._greeted_by, self._peer_store_id = hello.incarnation, hello.store_id
        log.info("link.resynchronised", peer=self.peer, common=len(known), dropped=dropped)
        return HelloAnswer(known)

    async def hear_offer(self, offer: Offer) -> None:
        """Finished keys from the running end. Raises NotGreetedError before its hello."""
        if offer.incarnation != self._greeted_by:
            raise NotGreetedError
        if offer.keys:
            await self._worker.run(self._store.accept, self._peer_store_id, offer.keys, self._worker.now_s())
        was_up = self.state().up
        self._received, self._heard_s = offer.report, time.monotonic()
        if self.state().up != was_up:
            log.info("link.up" if self.state().up else "link.down", peer=self.peer, qber=offer.report.qber)

    async def hear_discard(self, key_ids: list[str]) -> None:
        """The peer asks to forget keys."""
        await self._worker.run(self._store.forget, key_ids)

    async def _round(self) -> float:
        """One exchange with the peer; how long to pause after it (seconds)."""
        if forgotten := await self._worker.run(self._store.discarding):
            await self.channel.discard(forgotten)
            await self._worker.run(self._store.forget, forgotten)
        if not self.runs_model:
            return _IDLE_S
        if not self._greeted:
            await self._greet()
        if time.monotonic() >= self._block_due_s:
            room = await self._distil()
            self._block_due_s = time.monotonic() + (
                self._link.block_s if room else max(_IDLE_S, self._link.block_s)
            )
        await self._hand_over()
        self._heard_s = time.monotonic()
        return max(0.0, min(_IDLE_S, self._block_due_s - self._heard_s))

    async def _greet(self) -> None:
        known = await self._worker.run(self._store.known)
        hello = Hello(self._incarnation, self._worker.store_id, self._keys.size_bits, known)
        answer = await self.channel.hello(hello)
        dropped = await self._worker.run(self._store.drop_unknown, answer.known)
        # Whatever was sent while nobody received it is lost.
        self._production.restart(time.monotonic())
        self._greeted = True
        log.info("link.resynchronised", peer=self.peer, common=len(answer.known), dropped=dropped)

    async def _distil(self) -> int:
        """Closes the block and stores its keys; how much room is left in the store."""
        stock = await self._worker.run(self._store.stock)
        room = max(0, self._keys.max_stored - stock)
        discarded = self._production.discarded_blocks
        keys = await self._production.distil(self._keys.size_bits, room, time.monotonic())
        if self._production.discarded_blocks > discarded and not self._production.faults.cut:
            reason, qber = self._production.discard_reason, self._production.quality.qber
            log.warning("link.block_discarded", peer=self.peer, qber=qber, reason=reason)
        if keys:
            await self._worker.run(self._store.add, keys, self._worker.now_s())
        return room - len(keys)

    async def _hand_over(self) -> None:
        """Offers until the peer holds every finished key; at least once, as a sign of life."""
        while True:
            keys = await self._worker.run(self._store.offered, _OFFER_KEYS, self._worker.now_s())
            await self.channel.offer(Offer(self._incarnation, self._report(), keys))
            await self._worker.run(self._store.confirm, [key.key_id for key in keys])
            if len(keys) < _OFFER_KEYS:
                return

    def _report(self) -> LinkReport:
        now = self._production.quality
        return LinkReport(
            qber=now.qber,
            skr_bps=now.skr_bps,
            discarded_blocks=self._production.discarded_blocks,
            faults=self._production.faults,
        )

    def _note_trouble(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("link.peer_unreachable", peer=self.peer, reason=trouble)
        elif self._trouble and not trouble:
            log.info("link.peer_reached", peer=self.peer)
        self._trouble = trouble

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        self._wake.clear()


def _production(link: LinkSection, keys: KeysSection) -> "Production | PulseProduction":
    if link.model == "rates":
        return Production(link.length_km, link.pulse_rate_hz, keys.max_qber, time.monotonic())
    # Brings numpy, which no other part of a KME needs.
    from qkms_qkd.kme.pulse_production import PulseProduction

    return PulseProduction(link.length_km, link.pulse_rate_hz, keys.max_qber, time.monotonic(), link.block_s)


def _fields(faults: Faults) -> dict[str, bool | float]:
    return {name: getattr(faults, name) for name in faults.__struct_fields__}
