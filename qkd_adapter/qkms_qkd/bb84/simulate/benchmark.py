"""How fast the pulses are simulated, beside a loop over pulses, in one run on one core.

Both sample the same link; the loop is `naive`. Distillation is no part of either.
"""

import time
from dataclasses import dataclass

import numpy as np

from qkms_qkd.bb84.physics.attacks import Attack
from qkms_qkd.bb84.physics.pulses import seeded_bits, transmit
from qkms_qkd.bb84.physics.setup import Setup
from qkms_qkd.bb84.simulate.naive import transmit_naively

NAIVE_PULSES = 1_000_000
"""For the loop: a second or two."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Pulses per second of both, and the clicks per pulse that either found."""

    pulses_per_s: float
    naive_pulses_per_s: float
    clicks_per_pulse: float
    naive_clicks_per_pulse: float

    @property
    def ratio(self) -> float:
        """How many times as fast as the loop."""
        return self.pulses_per_s / self.naive_pulses_per_s


def measure(setup: Setup, attack: Attack, pulses: int, naive_pulses: int, seed: int) -> Speed:
    """Sends `pulses` and then `naive_pulses` pulses."""
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    clicks = sum(found.position.size for _, found in transmit(setup, attack, pulses, rng, seeded_bits(rng)))
    middle = time.perf_counter()
    _, found = transmit_naively(setup, attack, naive_pulses, seed)
    finished = time.perf_counter()
    return Speed(
        pulses_per_s=pulses / (middle - started),
        naive_pulses_per_s=naive_pulses / (finished - middle),
        clicks_per_pulse=clicks / pulses,
        naive_clicks_per_pulse=found.position.size / naive_pulses,
    )
