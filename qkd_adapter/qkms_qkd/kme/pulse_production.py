"""Keys of a link whose pulses are simulated one by one and distilled by both parties' whole chain.

The running end plays Alice and Bob. A block is what was sent since the last one: stretches under the faults of
their time, none while the fibre was cut. It is distilled in a thread, so that the link goes on talking meanwhile;
what is sent until it is done belongs to the next block. A block holds at most MAX_CLICKS expected clicks: what is
sent beyond is lost, as on a device whose computer is too slow. A block that any step of the chain refuses gives
nothing. Alice's bits and whatever she publishes come from the operating system; only nature is drawn from a
generator of numpy's, itself seeded by the operating system. The authentication keys begin with a secret that both
parties are given at each start; when they are exhausted there are no more keys until the next start.
Times in seconds of one monotonic clock.
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from qkms_qkd.bb84.chain.alice import Alice
from qkms_qkd.bb84.chain.authentication import SLOT_BYTES, AuthenticationKeys
from qkms_qkd.bb84.chain.block import Block, Limits
from qkms_qkd.bb84.chain.bob import Bob
from qkms_qkd.bb84.chain.errors import AuthenticationKeyExhausted
from qkms_qkd.bb84.decoy import GYS, LinkParameters
from qkms_qkd.bb84.memory_wire import distil, memory_wires
from qkms_qkd.bb84.physics.attacks import NoAttack, attack_named
from qkms_qkd.bb84.physics.cells import expected
from qkms_qkd.bb84.physics.pulses import transmit
from qkms_qkd.bb84.physics.records import (
    Bits,
    Detections,
    Preparations,
    joined_detections,
    joined_preparations,
)
from qkms_qkd.bb84.physics.setup import Setup
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.production import LinkQuality

MAX_CLICKS = 2e6
PRESHARED_BLOCKS = 1024
_Stretch = tuple[Faults, int]
_Notes = tuple[Preparations, Detections]


class PulseProduction:
    """The state of one link's distillation; `faults` and `discarded_blocks` as of `production.Production`."""

    def __init__(
        self,
        length_km: float,
        pulse_rate_hz: float,
        max_qber: float,
        since_s: float,
        block_s: float,
        parameters: LinkParameters = GYS,
    ) -> None:
        """A block is of `block_s` at least: the QBER of a few clicks would say nothing."""
        self.faults = Faults()
        self.discarded_blocks = 0
        self.discard_reason = ""
        self._setup = Setup(length_km, parameters, pulse_rate_hz=pulse_rate_hz)
        self._since_s = self._block_since_s = since_s
        self._block_s = block_s
        self._stretches: list[_Stretch] = []
        self._last = LinkQuality(None, 0.0, secure=True)
        self._spare = b""
        self._work: asyncio.Task[Block] | None = None
        self._work_s = 0.0
        self._outdated = False
        self._rng = np.random.default_rng()
        secret = os.urandom(PRESHARED_BLOCKS * SLOT_BYTES)
        limits = Limits(max_qber=max_qber)
        self._alice = Alice(self._setup, AuthenticationKeys(secret), system_bits, limits)
        self._bob = Bob(self._setup, AuthenticationKeys(secret), limits)

    @property
    def quality(self) -> LinkQuality:
        """What the last block measured; no QBER before the first one, nor while the fibre is cut."""
        return LinkQuality(None, 0.0, secure=False) if self.faults.cut else self._last

    @property
    def idle(self) -> bool:
        """No block is being distilled at the moment."""
        return self._work is None or self._work.done()

    def set_faults(self, faults: Faults, now_s: float) -> None:
        """Changes the faults in the middle of a block."""
        self._advance(now_s)
        self.faults = faults

    def restart(self, now_s: float) -> None:
        """Forgets what was not finished: the time until now gave no bits."""
        self._stretches, self._spare = [], b""
        self._outdated = self._work is not None
        self._since_s = self._block_since_s = now_s

    async def distil(self, key_bits: int, room: int, now_s: float) -> list[bytes]:
        """Begins with the block that ends now, unless one is at work; the keys of the one that was finished
        since the last call, at most `room`. What there is no room for is lost."""
        self._advance(now_s)
        found: list[bytes] = []
        if self._work is not None and self.idle:
            block, self._work = self._work, None
            found = self._finished(block, key_bits)
            found, self._outdated = ([] if self._outdated else found), False
        if self._work is None and self._stretches and now_s - self._block_since_s >= self._block_s:
            stretches, self._stretches = self._stretches, []
            self._work_s, self._block_since_s = now_s - self._block_since_s, now_s
            self._work = asyncio.create_task(asyncio.to_thread(self._block, stretches))
        return found[:room]

    def _advance(self, now_s: float) -> None:
        pulses = int((now_s - self._since_s) * self._setup.pulse_rate_hz)
        self._since_s = max(self._since_s, now_s)
        pulses = min(pulses, self._most_pulses() - sum(number for _, number in self._stretches))
        if pulses > 0 and not self.faults.cut:
            self._stretches.append((self.faults, pulses))

    def _most_pulses(self) -> int:
        rates = expected(self._setup, NoAttack())
        return int(MAX_CLICKS / sum(s * gain for s, gain in zip(self._setup.shares, rates.gain, strict=True)))

    def _finished(self, work: asyncio.Task[Block], key_bits: int) -> list[bytes]:
        try:
            block = work.result()
        except AuthenticationKeyExhausted as reason:
            self._discard(str(reason))
            self._last = replace(self._last, skr_bps=0.0)
            return []
        secure = block.discarded is None
        self._last = LinkQuality(block.tally.qber, 8 * len(block.key) / self._work_s, secure)
        if block.discarded is not None:
            self._discard(str(block.discarded))
            return []
        size = key_bits // 8
        bits = self._spare + block.key
        whole = len(bits) // size * size
        self._spare = bits[whole:]
        return [bits[at : at + size] for at in range(0, whole, size)]

    def _discard(self, reason: str) -> None:
        self.discarded_blocks += 1
        self.discard_reason = reason

    def _block(self, stretches: list[_Stretch]) -> Block:
        """In a thread: sends the pulses and distils them. Raises AuthenticationKeyExhausted."""
        notes: list[_Notes] = []
        start = 0
        for faults, pulses in stretches:
            for sent, found in self._sent(faults, pulses):
                position = sent.position + start
                notes.append((replace(sent, position=position), replace(found, position=position)))
            start += pulses
        sent, found = joined_preparations([one for one, _ in notes]), joined_detections([two for _, two in notes])
        hers, his = asyncio.run(distil(self._alice, self._bob, sent, found, memory_wires()))
        if hers.key != his.key:
            raise AssertionError("both parties verified their keys, and these differ")
        return hers if hers.discarded is None or hers.discarded.code != "PEER_DISCARDED" else his

    def _sent(self, faults: Faults, pulses: int) -> Iterator[_Notes]:
        link = self._setup.link
        degraded = replace(link, misalignment=link.misalignment + faults.extra_misalignment)
        attack = attack_named("intercept-resend", faults.intercept_resend)
        return transmit(replace(self._setup, link=degraded), attack, pulses, self._rng, system_bits)


def system_bits(count: int) -> Bits:
    """So many bits of the operating system's generator, one per byte."""
    return np.unpackbits(np.frombuffer(os.urandom((count + 7) // 8), dtype=np.uint8), count=count)
