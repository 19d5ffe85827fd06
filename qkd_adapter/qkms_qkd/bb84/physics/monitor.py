"""What Bob's monitors see of his detectors, and what they conclude. Pure but for the noise of the reading.

Blinding leaves no trace in QBER or yields, for the eavesdropper makes both. Two things give it away:
- the bias current of the avalanche photodiodes: the bright light that keeps them blind is a photocurrent far above
  that of counting. Modelled: BLINDING_W and RESPONSIVITY are of the order that Lydersen et al. (Nature Photonics
  4, 686, 2010) found for one commercial receiver, CHARGE_C is a usual avalanche. The reading is a mean over the
  block with a relative noise of READING_NOISE. Over ALARM_A the block is discarded. A device that is blinded by
  less light, or only in the rare gates that matter, needs a monitor that looks closer than a mean.
- double clicks: two detectors click together when several photons arrive or by dark counts. Faked pulses never do
  so. Too few of them, or too many, is reported, and discards nothing: photon-number splitting shifts them as well.
"""

import math
from dataclasses import dataclass

import numpy as np

from qkms_qkd.bb84.physics.attacks import Attack, Blinding, NoAttack
from qkms_qkd.bb84.physics.cells import expected
from qkms_qkd.bb84.physics.records import Detections
from qkms_qkd.bb84.physics.setup import Setup

DARK_CURRENT_A = 1e-9
CHARGE_C = 1e-12
BLINDING_W = 4e-4
RESPONSIVITY_A_PER_W = 0.8
READING_NOISE = 0.02
ALARM_A = 2e-5
SUSPICIOUS = 1e-6
"""Double clicks are called suspicious if chance makes them so far off less often than this."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Mean bias current (amperes), double clicks seen and expected, and how likely so many or so few are."""

    current_a: float
    double_clicks: int
    double_clicks_expected: float
    double_clicks_chance: float

    @property
    def alarm(self) -> str | None:
        """Why the block must go, or None."""
        if self.current_a <= ALARM_A:
            return None
        return f"the detectors draw {self.current_a:.1e} A, over the alarm of {ALARM_A:.0e} A: they may be blinded"

    @property
    def double_clicks_suspicious(self) -> bool:
        """Whether their number calls for a look at the receiver."""
        return self.double_clicks_chance < SUSPICIOUS


def read(setup: Setup, attack: Attack, found: Detections, rng: np.random.Generator) -> Reading:
    """The monitors at the end of a block of these clicks, under this attack."""
    clicks_per_second = found.position.size / found.pulses * setup.pulse_rate_hz
    blinded = attack.fraction if isinstance(attack, Blinding) else 0.0
    current = DARK_CURRENT_A + CHARGE_C * clicks_per_second + blinded * BLINDING_W * RESPONSIVITY_A_PER_W
    honest = expected(setup, NoAttack())
    rate = sum(share * double for share, double in zip(setup.shares, honest.double, strict=True))
    any_click = sum(share * gain for share, gain in zip(setup.shares, honest.gain, strict=True))
    mean = found.pulses * rate / (1.0 + setup.dead_time_pulses * any_click)
    return Reading(
        current_a=current * (1.0 + READING_NOISE * float(rng.standard_normal())),
        double_clicks=found.double,
        double_clicks_expected=mean,
        double_clicks_chance=chance(found.double, mean),
    )


def chance(count: int, mean: float) -> float:
    """Twice the Poisson probability of so few, or of so many, whichever is smaller; at most 1."""
    if mean <= 0:
        return 1.0 if count == 0 else 0.0
    below, above = _tail(count, mean, -1), _tail(count, mean, 1)
    return min(1.0, 2 * min(below, above))


def _tail(count: int, mean: float, step: int) -> float:
    """The probability of `count` and all numbers beyond it in the direction of `step`."""
    total, number = 0.0, count
    while number >= 0:
        term = math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))
        total += term
        if term < 1e-18 * total or (step * (number - mean) > 0 and term == 0.0):
            break
        number += step
    return min(1.0, total)
