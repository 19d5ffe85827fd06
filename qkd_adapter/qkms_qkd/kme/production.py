"""How many keys a simulated link distils over time, by closed-form rates. Time enters as an argument.

Secret bits build up at the decoy-state rate (vacuum + weak) times the pulse rate. `take` closes a
block: the keys it completes come out, unless the QBER was over the limit or the link was cut at any time
during the block; then the block is discarded. Times in seconds of one monotonic clock.
"""

import os
from dataclasses import dataclass, field, replace
from typing import ClassVar

from qkms_qkd.bb84.decoy import GYS, LinkParameters, figures
from qkms_qkd.kme.faults import Faults


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """What the link measures: QBER (None while nothing arrives) and secret bits per second."""

    qber: float | None
    skr_bps: float
    secure: bool


def quality(
    length_km: float, pulse_rate_hz: float, faults: Faults, max_qber: float, parameters: LinkParameters = GYS
) -> LinkQuality:
    """The link under these faults; `secure` says whether its blocks yield keys."""
    if faults.cut:
        return LinkQuality(None, 0.0, secure=False)
    degraded = replace(parameters, misalignment=parameters.misalignment + faults.extra_misalignment)
    found = figures(length_km, degraded, faults.intercept_resend)
    secure = found.qber <= max_qber
    return LinkQuality(found.qber, found.rate_vacuum_weak * pulse_rate_hz if secure else 0.0, secure)


@dataclass(slots=True)
class Production:
    """The state of one link's distillation."""

    length_km: float
    pulse_rate_hz: float
    max_qber: float
    since_s: float
    faults: Faults = field(default_factory=Faults)
    discarded_blocks: int = 0
    discard_reason: ClassVar[str] = "the QBER was over the limit, or the link was cut, at some time of the block"
    _bits: float = 0.0
    _secure: bool = True

    @property
    def quality(self) -> LinkQuality:
        """The link under the present faults."""
        return quality(self.length_km, self.pulse_rate_hz, self.faults, self.max_qber)

    def set_faults(self, faults: Faults, now_s: float) -> None:
        """Changes the faults in the middle of a block."""
        self._advance(now_s)
        self.faults = faults

    def restart(self, now_s: float) -> None:
        """Forgets what was not finished: the time until now gave no bits."""
        self._bits = 0.0
        self._secure = True
        self.since_s = now_s

    def take(self, key_bits: int, room: int, now_s: float) -> int:
        """Closes the block: how many keys of `key_bits` it gives, at most `room`. What there is no
        room for is lost, as on a real device with a full store."""
        self._advance(now_s)
        if not self._secure:
            self._bits = 0.0
            self.discarded_blocks += 1
        self._secure = True
        whole = int(self._bits // key_bits)
        self._bits = 0.0 if whole > room else self._bits - whole * key_bits
        return min(whole, room)

    async def distil(self, key_bits: int, room: int, now_s: float) -> list[bytes]:
        """As `take`: so many keys of the operating system's random bytes."""
        return [os.urandom(key_bits // 8) for _ in range(self.take(key_bits, room, now_s))]

    def _advance(self, now_s: float) -> None:
        now = self.quality
        self._bits += now.skr_bps * max(0.0, now_s - self.since_s)
        self._secure = self._secure and now.secure
        self.since_s = max(self.since_s, now_s)
