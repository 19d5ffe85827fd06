"""Every way a pulse can make a detector click, with its exact probability. Pure.

A cell is: the intensity, whose state arrived, how many photons were detected, which detectors had a dark
count. Photon number, fibre and efficiency are summed over here, once; what a cell leaves open (bases, bits,
which detector each photon met) is drawn per click in `pulses`. Photons beyond `photon_numbers` count as the
last number there, a tail below 1e-16.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.physics.attacks import Attack, State
from qkms_qkd.bb84.physics.setup import Setup, photon_numbers

DARK_NONE, DARK_ZERO, DARK_ONE, DARK_BOTH = 0, 1, 2, 3
"""Dark counts as bits: 1 for the detector of bit 0, 2 for that of bit 1."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Parallel arrays, one entry per cell; `silent` is the probability of each intensity and no click."""

    intensity: NDArray[np.uint8]
    state: NDArray[np.uint8]
    detected: NDArray[np.int64]
    dark: NDArray[np.uint8]
    probability: NDArray[np.float64]
    silent: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Expected:
    """Of each intensity: the probability of a click per pulse, of an error per click in equal bases, and of
    both detectors clicking per pulse (over all bases)."""

    gain: tuple[float, ...]
    error: tuple[float, ...]
    double: tuple[float, ...]


def cells(setup: Setup, attack: Attack) -> Cells:
    """The cells of this link under this attack."""
    clicks: dict[tuple[int, int, int, int], float] = defaultdict(float)
    silent = [0.0, 0.0, 0.0]
    d = setup.dark_count
    dark = ((1 - d) ** 2, d * (1 - d), d * (1 - d), d * d)
    for intensity, (mean, share) in enumerate(zip(setup.intensities, setup.shares, strict=True)):
        for photons, number in enumerate(photon_numbers(mean)):
            for route in attack.routes(setup, photons):
                weight = share * number * route.share
                if route.state is State.FAKED:
                    clicks[intensity, route.state, min(route.photons, 1), DARK_NONE] += weight * route.efficiency
                    silent[intensity] += weight * (1 - route.efficiency)
                    continue
                for detected in range(route.photons + 1):
                    arrival = weight * _binomial(route.photons, detected, route.efficiency)
                    for pattern, chance in enumerate(dark):
                        if detected or pattern:
                            clicks[intensity, route.state, detected, pattern] += arrival * chance
                        else:
                            silent[intensity] += arrival * chance
    keys = np.array(list(clicks), dtype=np.int64).reshape(-1, 4)
    return Cells(
        intensity=keys[:, 0].astype(np.uint8),
        state=keys[:, 1].astype(np.uint8),
        detected=keys[:, 2],
        dark=keys[:, 3].astype(np.uint8),
        probability=np.array(list(clicks.values())),
        silent=np.array(silent),
    )


def expected(setup: Setup, attack: Attack) -> Expected:
    """What measurements tend to, dead time aside."""
    found = cells(setup, attack)
    gain, wrong, double = [0.0] * 3, [0.0] * 3, [0.0] * 3
    equal = setup.key_basis_share**2 + (1 - setup.key_basis_share) ** 2
    rows = zip(found.intensity, found.state, found.detected, found.dark, found.probability, strict=True)
    for k, state, detected, dark, probability in rows:
        same, other = _in_equal_and_unequal_bases(State(state), int(detected), int(dark), setup.link.misalignment)
        gain[k] += probability
        wrong[k] += probability * same[0]
        double[k] += probability * (equal * same[1] + (1 - equal) * other[1])
    shares = setup.shares
    return Expected(
        gain=tuple(float(g / share) for g, share in zip(gain, shares, strict=True)),
        error=tuple(float(w / g) if g else 0.0 for w, g in zip(wrong, gain, strict=True)),
        double=tuple(float(b / share) for b, share in zip(double, shares, strict=True)),
    )


_Outcome = tuple[float, float]
"""The probabilities of an error and of a double click, given a click."""


def _in_equal_and_unequal_bases(state: State, detected: int, dark: int, error: float) -> tuple[_Outcome, _Outcome]:
    if state is State.FAKED:
        return (0.0 if detected else 0.5, 0.0), (0.5, 0.0)
    aligned, crossed = _outcome(detected, dark, error), _outcome(detected, dark, 0.5)
    if state is State.OWN:
        return aligned, crossed
    # Her basis is Alice's, or Bob's, half of the time; else her photons meet Bob's detectors at random.
    mean = ((aligned[0] + crossed[0]) / 2, (aligned[1] + crossed[1]) / 2)
    return mean, mean


def _outcome(detected: int, dark: int, error: float) -> _Outcome:
    """Each detected photon goes to the wrong detector with probability `error`; a double click is a coin."""
    none = 1.0 if detected == 0 else 0.0
    right_only = (1 - error) ** detected - none
    wrong_only = error**detected - none
    both = 1.0 - none - right_only - wrong_only
    if dark == DARK_NONE:
        return wrong_only + both / 2, both
    if dark == DARK_BOTH:
        return 0.5, 1.0
    # A single dark count is in the right or the wrong detector with equal chance.
    double = both + (right_only + wrong_only) / 2
    return (none + wrong_only) / 2 + double / 2, double


def _binomial(n: int, k: int, p: float) -> float:
    return float(math.comb(n, k) * p**k * (1 - p) ** (n - k))
