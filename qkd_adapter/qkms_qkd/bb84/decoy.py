"""Key rate and QBER of decoy-state BB84 in closed form, in the limit of infinitely many pulses.

Source: Ma, Qi, Zhao, Lo, "Practical decoy state for quantum key distribution", Phys. Rev. A 72,
012326 (2005), equations 8 to 11 (channel), 18 (rate), 34, 35 and 37 (vacuum + weak decoy bounds). The
default parameters are those of the Gobby, Yuan and Shields experiment used there. An eavesdropper who
intercepts and resends a fraction p of the pulses, photon for photon, chooses the wrong basis half of the
time and then leaves Bob a random bit: a photon's error e becomes (1 - p/2) e + (p/2)/2 = e + (p/4)(1 - 2e).
Dark counts she does not touch. Left out: finite-size effects and anything at the level of single pulses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

BACKGROUND_ERROR = 0.5
"""A dark count is right half of the time."""


@dataclass(frozen=True, slots=True)
class LinkParameters:
    """Source, fibre and detectors; intensities in photons per pulse, the rest probabilities."""

    loss_db_per_km: float = 0.21
    receiver_efficiency: float = 0.045
    background_yield: float = 1.7e-6
    misalignment: float = 0.033
    signal: float = 0.48
    decoy: float = 0.05
    reconciliation: float = 1.22
    sifting: float = 0.5


GYS = LinkParameters()


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """A link at work: probability of a click and of an error per pulse, secret bits per pulse sent."""

    gain: float
    qber: float
    rate_infinite_decoys: float
    rate_vacuum_weak: float


@dataclass(frozen=True, slots=True)
class SinglePhotons:
    """Pulses of one photon: probability of a click per pulse, of an error per click."""

    yield_: float
    error: float


def binary_entropy(x: float) -> float:
    """H2(x) in bits, for x in [0, 1]."""
    if not 0 <= x <= 1:
        raise ValueError(f"binary entropy is defined on [0, 1], not at {x}")
    if x in (0.0, 1.0):
        return 0.0
    return -x * math.log2(x) - (1 - x) * math.log2(1 - x)


def intercepted_error(error: float, fraction: float) -> float:
    """A photon's error when the eavesdropper intercepts and resends this fraction (0 to 1) of all pulses."""
    return error + fraction / 4 * (1 - 2 * error)


def figures(length_km: float, parameters: LinkParameters = GYS, intercept_resend: float = 0.0) -> LinkFigures:
    """The link of this length; `intercept_resend` is the fraction (0 to 1) an eavesdropper measures."""
    p = parameters
    photon_error = intercepted_error(p.misalignment, intercept_resend)
    transmittance = p.receiver_efficiency * 10 ** (-p.loss_db_per_km * length_km / 10)

    def gain(intensity: float) -> float:
        return p.background_yield + 1 - math.exp(-transmittance * intensity)

    def error(intensity: float) -> float:
        clicks = 1 - math.exp(-transmittance * intensity)
        return (BACKGROUND_ERROR * p.background_yield + photon_error * clicks) / gain(intensity)

    exact_yield = p.background_yield + transmittance
    exact_error = (BACKGROUND_ERROR * p.background_yield + photon_error * transmittance) / exact_yield
    exact = SinglePhotons(exact_yield, exact_error)
    bound = vacuum_weak_bound(gain(p.signal), gain(p.decoy), p.background_yield, error(p.decoy), p)
    return LinkFigures(
        gain=gain(p.signal),
        qber=error(p.signal),
        rate_infinite_decoys=max(0.0, rate(exact, gain(p.signal), error(p.signal), p)),
        rate_vacuum_weak=max(0.0, rate(bound, gain(p.signal), error(p.signal), p)),
    )


def vacuum_weak_bound(
    signal_gain: float, decoy_gain: float, background: float, decoy_error: float, parameters: LinkParameters = GYS
) -> SinglePhotons:
    """What gains and the decoy's error say of single photons: their yield at least, their error at most."""
    mu, nu = parameters.signal, parameters.decoy
    bound_yield = (mu / (mu * nu - nu**2)) * (
        decoy_gain * math.exp(nu)
        - signal_gain * math.exp(mu) * nu**2 / mu**2
        - (mu**2 - nu**2) / mu**2 * background
    )
    if bound_yield <= 0:
        return SinglePhotons(0.0, BACKGROUND_ERROR)
    decoy_errors = decoy_error * decoy_gain * math.exp(nu) - BACKGROUND_ERROR * background
    return SinglePhotons(bound_yield, decoy_errors / (bound_yield * nu))


def rate(
    single: SinglePhotons, signal_gain: float, signal_error: float, parameters: LinkParameters = GYS
) -> float:
    """Secret bits per pulse sent, below zero where there are none."""
    p = parameters
    single_gain = single.yield_ * p.signal * math.exp(-p.signal)
    leaked = p.reconciliation * _entropy_of_error(signal_error)
    secret = 1 - _entropy_of_error(single.error)
    return p.sifting * (single_gain * secret - signal_gain * leaked)


def cutoff_km(rate_of: Callable[[LinkFigures], float], parameters: LinkParameters = GYS) -> float:
    """The length (km) from which `rate_of` the link's figures is zero, to a metre."""
    near, far = 0.0, 1000.0
    while far - near > 1e-3:
        middle = (near + far) / 2
        if rate_of(figures(middle, parameters)) > 0:
            near = middle
        else:
            far = middle
    return near


def _entropy_of_error(error: float) -> float:
    # An error of a half already means no information; more cannot give any back. An estimate may be below 0.
    return binary_entropy(min(0.5, max(0.0, error)))
