"""The analytic model of decoy-state BB84 over fibre: gain, QBER and secret key rate by distance.

Formulas: Ma, Qi, Zhao, Lo, "Practical decoy state for quantum key distribution",
Phys. Rev. A 72, 012326 (2005), equations (8) to (11) for the channel, (18) for the
key rate (GLLP with decoy states), (34), (35) and (37) for the vacuum + weak decoy
bounds. Default parameters: the experiment of Gobby, Yuan and Shields (GYS 2004).

Left out: finite-size effects, and every pulse. An eavesdropper who measures and
resends a fraction p of the pulses in random bases adds p/4 to each error rate.
Pure: no clock, no randomness.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

VACUUM_ERROR: Final = 0.5
"""A dark count falls on either detector."""


@dataclass(frozen=True, slots=True)
class Fibre:
    """Channel, detector and protocol parameters.

    `loss_db_per_km`; `eta_bob` receiver efficiency; `y0` background yield per pulse;
    `e_detector` misalignment; `mu` and `nu` mean photon numbers of signal and weak
    decoy; `f_ec` error correction inefficiency; `q` sifting; `intercept_resend` the
    fraction of pulses measured and resent.
    """

    loss_db_per_km: float = 0.21
    eta_bob: float = 0.045
    y0: float = 1.7e-6
    e_detector: float = 0.033
    mu: float = 0.48
    nu: float = 0.05
    f_ec: float = 1.22
    q: float = 0.5
    intercept_resend: float = 0.0

    def disturbed(self, intercept_resend: float, extra_misalignment: float) -> "Fibre":
        """The same fibre with an eavesdropper on a fraction of the pulses and a worse alignment."""
        return replace(
            self, intercept_resend=intercept_resend, e_detector=min(0.5, self.e_detector + extra_misalignment)
        )


GYS: Final = Fibre()


def binary_entropy(x: float) -> float:
    """H2(x) in bits, for 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0
    return -x * math.log2(x) - (1.0 - x) * math.log2(1.0 - x)


def transmittance(fibre: Fibre, km: float) -> float:
    """Probability that a photon sent is detected."""
    return fibre.eta_bob * math.pow(10.0, -fibre.loss_db_per_km * km / 10.0)


def gain(fibre: Fibre, km: float, intensity: float) -> float:
    """Q: probability per pulse of mean photon number `intensity` that a detector clicks."""
    return fibre.y0 + 1.0 - math.exp(-transmittance(fibre, km) * intensity)


def qber(fibre: Fibre, km: float, intensity: float | None = None) -> float:
    """E: error rate of the sifted bits, by default of the signal pulses."""
    chosen = fibre.mu if intensity is None else intensity
    detected = 1.0 - math.exp(-transmittance(fibre, km) * chosen)
    errors = VACUUM_ERROR * fibre.y0 + fibre.e_detector * detected
    return _overheard(fibre, errors / gain(fibre, km, chosen))


def rate_infinite_decoys(fibre: Fibre, km: float) -> float:
    """R: secret bits per pulse when the single-photon yield and error are known exactly; below 0: none."""
    eta = transmittance(fibre, km)
    yield_1 = fibre.y0 + eta - fibre.y0 * eta
    error_1 = _overheard(fibre, (VACUUM_ERROR * fibre.y0 + fibre.e_detector * eta) / yield_1)
    return _rate(fibre, km, yield_1, error_1)


def rate_vacuum_weak(fibre: Fibre, km: float) -> float:
    """R: secret bits per pulse with the vacuum and one weak decoy intensity; below 0: none."""
    mu, nu = fibre.mu, fibre.nu
    weak = gain(fibre, km, nu) * math.exp(nu)
    signal = gain(fibre, km, mu) * math.exp(mu)
    ratio = (nu / mu) ** 2
    yield_1 = mu / (mu * nu - nu * nu) * (weak - signal * ratio - (1.0 - ratio) * fibre.y0)
    if yield_1 <= 0.0:
        return _rate(fibre, km, 0.0, VACUUM_ERROR)
    error_1 = (qber(fibre, km, nu) * weak - VACUUM_ERROR * fibre.y0) / (yield_1 * nu)
    return _rate(fibre, km, yield_1, min(VACUUM_ERROR, error_1))


def _rate(fibre: Fibre, km: float, yield_1: float, error_1: float) -> float:
    leaked = gain(fibre, km, fibre.mu) * fibre.f_ec * binary_entropy(qber(fibre, km))
    single = yield_1 * fibre.mu * math.exp(-fibre.mu)
    return fibre.q * (single * (1.0 - binary_entropy(error_1)) - leaked)


def _overheard(fibre: Fibre, error: float) -> float:
    return min(VACUUM_ERROR, error + fibre.intercept_resend / 4.0)
