"""The published figures of decoy-state BB84 (Ma, Qi, Zhao, Lo 2005 with GYS parameters), to the printed digit."""

import math

import pytest

from qkms_qkd.bb84.decoy import GYS, LinkParameters, binary_entropy, cutoff_km, figures

TABLE = [
    # km, Q_mu, QBER in percent, R infinite decoys, R vacuum + weak
    (0, "2.137e-02", "3.30", "2.555e-03", "2.414e-03"),
    (50, "1.925e-03", "3.34", "2.226e-04", "2.096e-04"),
    (100, "1.733e-04", "3.76", "1.718e-05", "1.602e-05"),
    (140, "2.650e-05", "6.30", "2.465e-07", "7.378e-08"),
]


@pytest.mark.parametrize(("km", "gain", "qber", "infinite", "weak"), TABLE)
def test_table(km: float, gain: str, qber: str, infinite: str, weak: str) -> None:
    found = figures(km)
    assert f"{found.gain:.3e}" == gain
    assert f"{found.qber * 100:.2f}" == qber
    assert f"{found.rate_infinite_decoys:.3e}" == infinite
    assert f"{found.rate_vacuum_weak:.3e}" == weak


def test_cutoff_distances() -> None:
    assert f"{cutoff_km(lambda f: f.rate_infinite_decoys):.1f}" == "142.0"
    assert f"{cutoff_km(lambda f: f.rate_vacuum_weak):.1f}" == "140.6"


def test_no_secret_is_left_at_eleven_percent() -> None:
    low, high = 0.0, 0.5
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - 2 * binary_entropy(middle) > 0 else (low, middle)
    assert f"{low * 100:.2f}" == "11.00"


@pytest.mark.parametrize(("fraction", "qber"), [(0.0, 0.033), (0.1, 0.05635), (0.5, 0.14975), (1.0, 0.2665)])
def test_intercept_resend_adds_a_quarter_of_what_was_right(fraction: float, qber: float) -> None:
    link = figures(0, LinkParameters(background_yield=0.0), fraction)
    assert link.qber == pytest.approx(qber, rel=1e-12)


def test_intercept_resend_leaves_dark_counts_alone() -> None:
    """At 300 km nearly every click is a dark count, wrong half of the time with or without her."""
    dark, intercepted = figures(300), figures(300, intercept_resend=1.0)
    photons = 1 - GYS.background_yield / dark.gain
    assert photons < 0.01
    assert intercepted.qber - dark.qber == pytest.approx(photons / 4 * (1 - 2 * GYS.misalignment), rel=1e-6)
    assert intercepted.gain == dark.gain


def test_intercept_resend_on_every_pulse_costs_every_key() -> None:
    eve = figures(0, LinkParameters(misalignment=0.0, background_yield=0.0), 1.0)
    assert eve.qber == pytest.approx(0.25)
    assert eve.rate_infinite_decoys == 0
    assert eve.rate_vacuum_weak == 0


def test_rates_fall_with_distance_and_end_at_zero() -> None:
    rates = [figures(km).rate_vacuum_weak for km in range(0, 400, 5)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0
    assert all(figures(km).rate_vacuum_weak <= figures(km).rate_infinite_decoys for km in range(0, 140, 10))


@pytest.mark.parametrize(("x", "bits"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.11, 0.499916)])
def test_binary_entropy(x: float, bits: float) -> None:
    assert binary_entropy(x) == pytest.approx(bits, abs=1e-6)


@pytest.mark.parametrize("x", [-0.1, 1.1, math.nan])
def test_binary_entropy_is_defined_on_probabilities_only(x: float) -> None:
    with pytest.raises(ValueError, match="binary entropy"):
        binary_entropy(x)


def test_default_parameters_are_those_of_the_experiment() -> None:
    assert LinkParameters(0.21, 0.045, 1.7e-6, 0.033, 0.48, 0.05, 1.22, 0.5) == GYS
