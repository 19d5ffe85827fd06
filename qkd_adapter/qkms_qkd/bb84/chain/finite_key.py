"""How many secret bits a finite number of clicks proves: three-intensity decoy-state BB84 with biased bases.

Lim, Curty, Walenta, Xu, Zbinden, "Concise security bounds for practical decoy-state quantum key distribution",
Phys. Rev. A 89, 022307 (2014): the key length is equation 1, the vacuum and single-photon clicks equations 2 and
3, the phase error equations 4 and 5. Counts deviate from their expectations by at most Hoeffding's inequality
allows. Their X is our key basis, their Z our test basis; mu_1, mu_2, mu_3 are signal, decoy and vacuum. Clicks of
all three intensities make the key. A bound that a count cannot obey otherwise (below zero) is cut off there.
Secret means within `eps_secret` of a uniform key, against any attack on the light, given trusted devices. Left
out: the analysis is of keys of a length fixed beforehand; that taking the length from the counts is as secret
was shown later (Wiesemann et al., arXiv:2405.16578) under slightly other constants. Pure.
"""

import math
from dataclasses import dataclass

from qkms_qkd.bb84.chain.tally import Counts, Tally
from qkms_qkd.bb84.decoy import binary_entropy
from qkms_qkd.bb84.physics.setup import DECOY, SIGNAL, VACUUM, Setup

EPS_SECRET = 1e-10
_ERROR_TERMS = 21
_MAX_PULSES = 1e18


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the key basis: at least so many clicks from no photon and from single photons, and at most this error
    rate had they been measured in the other basis. Of the test basis: at least so many from single photons,
    at most so many of these wrong."""

    key_vacuum: float
    key_single: float
    test_single: float
    test_single_errors: float
    phase_error: float

    @property
    def secret_bits(self) -> float:
        """What is unknown to any eavesdropper before anything was said about the key."""
        return self.key_vacuum + self.key_single * (1.0 - binary_entropy(self.phase_error))


def bounds(counts: Tally, setup: Setup, eps_secret: float = EPS_SECRET) -> Bounds:
    """What the tally proves about the pulses of this source."""
    key_vacuum, key_single = _vacuum_and_single(counts.key, setup, eps_secret)
    _, test_single = _vacuum_and_single(counts.test, setup, eps_secret)
    mu = setup.intensities
    _, errors_high = _expectations(counts.test_errors, setup, eps_secret)
    errors_low, _ = _expectations(counts.test_errors, setup, eps_secret)
    wrong = _tau(1, setup) * (errors_high[DECOY] - errors_low[VACUUM]) / (mu[DECOY] - mu[VACUUM])
    wrong = max(0.0, wrong)
    phase_error = 0.5
    if test_single > 0 and key_single > 0 and wrong < test_single / 2:
        rate = wrong / test_single
        phase_error = min(0.5, rate + _sampling(eps_secret, rate, test_single, key_single))
    return Bounds(key_vacuum, key_single, test_single, wrong, phase_error)


def secret_key_bits(found: Bounds, leaked_bits: float, eps_secret: float = EPS_SECRET) -> int:
    """The length of the key, 0 if there is none, when `leaked_bits` were told of it in all."""
    return max(0, math.floor(found.secret_bits - leaked_bits - overhead_bits(eps_secret)))


def overhead_bits(eps_secret: float = EPS_SECRET) -> float:
    """What privacy amplification costs whatever the length."""
    return 6 * math.log2(_ERROR_TERMS / eps_secret)


def pulses_for_a_key(
    counts: Tally, pulses: int, setup: Setup, leaked_per_click: float, eps_secret: float = EPS_SECRET
) -> float | None:
    """From how many pulses on these very rates would give a key; None if no number would do."""

    def secret(factor: float) -> bool:
        scaled = counts.scaled(factor)
        return secret_key_bits(bounds(scaled, setup, eps_secret), leaked_per_click * sum(scaled.key)) > 0

    low, high = 0.0, 1.0
    while not secret(high):
        if high * pulses > _MAX_PULSES:
            return None
        low, high = high, 2 * high
    while high - low > 0.005 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if secret(middle) else (middle, high)
    return high * pulses


def _vacuum_and_single(clicks: Counts, setup: Setup, eps: float) -> tuple[float, float]:
    mu = setup.intensities
    low, high = _expectations(clicks, setup, eps)
    vacuum = _tau(0, setup) * (mu[DECOY] * low[VACUUM] - mu[VACUUM] * high[DECOY]) / (mu[DECOY] - mu[VACUUM])
    vacuum = max(0.0, vacuum)
    several = (mu[DECOY] ** 2 - mu[VACUUM] ** 2) / mu[SIGNAL] ** 2 * (high[SIGNAL] - vacuum / _tau(0, setup))
    single = _tau(1, setup) * mu[SIGNAL] * (low[DECOY] - high[VACUUM] - several)
    single /= mu[SIGNAL] * (mu[DECOY] - mu[VACUUM]) - mu[DECOY] ** 2 + mu[VACUUM] ** 2
    return vacuum, max(0.0, single)


def _expectations(counts: Counts, setup: Setup, eps: float) -> tuple[list[float], list[float]]:
    """Low and high bounds of each intensity's expected count, over e^-k p_k."""
    deviation = math.sqrt(sum(counts) / 2 * math.log(_ERROR_TERMS / eps))
    weights = [math.exp(k) / share for k, share in zip(setup.intensities, setup.shares, strict=True)]
    low = [weight * max(0.0, count - deviation) for weight, count in zip(weights, counts, strict=True)]
    high = [weight * (count + deviation) for weight, count in zip(weights, counts, strict=True)]
    return low, high


def _tau(photons: int, setup: Setup) -> float:
    """The probability that a pulse has so many photons, over all intensities."""
    return sum(
        share * math.exp(-k) * k**photons / math.factorial(photons)
        for k, share in zip(setup.intensities, setup.shares, strict=True)
    )


def _sampling(eps: float, rate: float, sampled: float, rest: float) -> float:
    """Their gamma: how much worse the rest may be than the sample. An error-free sample counts as half an error,
    since gamma is not defined at 0 and grows from there."""
    b = max(rate, 0.5 / sampled)
    total, product = sampled + rest, sampled * rest
    spread = total * (1 - b) * b / (product * math.log(2))
    return math.sqrt(spread * math.log2(total / (product * (1 - b) * b) * (_ERROR_TERMS / eps) ** 2))
