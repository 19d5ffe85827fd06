"""Rates measured in a simulation, with standard errors, beside what theory expects. Pure.

An observer who reads both parties' notebooks counts clicks and errors by intensity, errors in equal bases. Gains
are per pulse that found the detectors ready: each click makes them miss `dead_time_pulses`. Counts are binomial;
what is derived from them has the error that propagates to first order. The decoy bounds are those of `decoy`, of
infinitely many pulses and without fluctuations: what the key may rest on stands in `finite_key`. A key rate below
zero means that there is none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.decoy import rate, vacuum_weak_bound
from qkms_qkd.bb84.physics.attacks import Attack, NoAttack
from qkms_qkd.bb84.physics.cells import Expected, expected
from qkms_qkd.bb84.physics.records import Detections, Preparations
from qkms_qkd.bb84.physics.setup import DECOY, INTENSITY_NAMES, SIGNAL, VACUUM, Setup


@dataclass(frozen=True, slots=True)
class Counts:
    """By intensity: pulses sent, clicks, clicks in equal bases, errors among those."""

    sent: tuple[int, ...]
    clicks: tuple[int, ...]
    equal_bases: tuple[int, ...]
    errors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value and its standard error, what the attacked link should show, and what a quiet one would."""

    name: str
    measured: float
    standard_error: float
    expected: float
    undisturbed: float

    @property
    def deviation(self) -> float | None:
        """From the expected value, in standard errors; None where there is none."""
        return (self.measured - self.expected) / self.standard_error if self.standard_error > 0 else None


def count(sent: Preparations, found: Detections) -> Counts:
    """Counts both notebooks of the same clicks."""
    equal = sent.basis == found.basis
    wrong = equal & (sent.bit != found.bit)

    def by(chosen: NDArray[np.uint8]) -> tuple[int, ...]:
        return tuple(int(number) for number in np.bincount(chosen, minlength=3))

    return Counts(sent.sent, by(sent.intensity), by(sent.intensity[equal]), by(sent.intensity[wrong]))


def quantities(setup: Setup, attack: Attack, counts: Counts) -> list[Quantity]:
    """The table: gains, error rates, single photons, key rate."""
    attacked, quiet = _point(expected(setup, attack)), _point(expected(setup, NoAttack()))
    measured, errors = _measured(setup, counts)
    gains = [
        Quantity(f"gain, {name}", measured[k], errors[k], attacked[k], quiet[k])
        for k, name in enumerate(INTENSITY_NAMES)
    ]
    qbers = [
        Quantity(f"QBER, {name}", measured[3 + k], errors[3 + k], attacked[3 + k], quiet[3 + k])
        for k, name in enumerate(INTENSITY_NAMES)
        if counts.equal_bases[k]
    ]
    derived: list[tuple[str, Callable[[list[float]], float]]] = [
        ("single-photon yield, at least", lambda x: _single(setup, x)[0]),
        ("single-photon error, at most", lambda x: _single(setup, x)[1]),
        ("key rate per pulse, asymptotic", lambda x: _rate(setup, x)),
    ]
    return (
        gains
        + qbers
        + [
            Quantity(name, of(measured), _propagated(of, measured, errors), _whole(of(attacked)), of(quiet))
            for name, of in derived
        ]
    )


def _whole(value: float) -> float:
    # What rounding leaves of zero.
    return 0.0 if abs(value) < 1e-15 else value


def _point(rates: Expected) -> list[float]:
    return [*rates.gain, *rates.error]


def _measured(setup: Setup, counts: Counts) -> tuple[list[float], list[float]]:
    """Gains then error rates of signal, decoy and vacuum; and their standard errors."""
    pulses, clicks = sum(counts.sent), sum(counts.clicks)
    ready = max(0.0, 1.0 - clicks * setup.dead_time_pulses / pulses)
    values, errors = [], []
    for number, trials in zip(counts.clicks, (sent * ready for sent in counts.sent), strict=True):
        values.append(number / trials if trials else 0.0)
        errors.append(_binomial_error(number, trials))
    for number, trials in zip(counts.errors, counts.equal_bases, strict=True):
        values.append(number / trials if trials else 0.5)
        errors.append(_binomial_error(number, trials))
    return values, errors


def _binomial_error(number: float, trials: float) -> float:
    """Of number/trials; a count of none, or of all, is taken as half an event away from there."""
    if trials <= 0:
        return 0.0
    p = min(max(number, 0.5), trials - 0.5) / trials if trials > 1 else 0.5
    return math.sqrt(p * (1 - p) / trials)


def _single(setup: Setup, x: list[float]) -> tuple[float, float]:
    found = vacuum_weak_bound(x[SIGNAL], x[DECOY], x[VACUUM], x[3 + DECOY], setup.link)
    return found.yield_, found.error


def _rate(setup: Setup, x: list[float]) -> float:
    single = vacuum_weak_bound(x[SIGNAL], x[DECOY], x[VACUUM], x[3 + DECOY], setup.link)
    return rate(single, x[SIGNAL], x[3 + SIGNAL], setup.link)


def _propagated(of: Callable[[list[float]], float], x: list[float], errors: list[float]) -> float:
    total = 0.0
    for k, error in enumerate(errors):
        up, down = list(x), list(x)
        up[k] += error / 2
        down[k] -= error / 2
        total += (of(up) - of(down)) ** 2
    return math.sqrt(total)
