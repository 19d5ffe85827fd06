"""Finite-size bounds: never above the truth, tight when there are many pulses, honest when there are few."""

import math

import numpy as np
import pytest

from qkms_qkd.bb84.chain.finite_key import (
    EPS_SECRET,
    bounds,
    overhead_bits,
    pulses_for_a_key,
    secret_key_bits,
)
from qkms_qkd.bb84.chain.tally import Tally, tally
from qkms_qkd.bb84.decoy import LinkParameters, binary_entropy, vacuum_weak_bound
from qkms_qkd.bb84.physics.attacks import NoAttack
from qkms_qkd.bb84.physics.cells import expected
from qkms_qkd.bb84.physics.setup import Setup


def expectation(setup: Setup, pulses: float) -> Tally:
    """The tally that so many pulses tend to."""
    rates, key = expected(setup, NoAttack()), setup.key_basis_share

    def clicks(both_in_basis: float) -> list[float]:
        return [
            pulses * share * gain * both_in_basis for share, gain in zip(setup.shares, rates.gain, strict=True)
        ]

    test = clicks((1 - key) ** 2)
    wrong = [number * error for number, error in zip(test, rates.error, strict=True)]
    return Tally(*(tuple(counts) for counts in (clicks(key**2), test, wrong)))  # type: ignore[arg-type]


def single_photon_clicks(setup: Setup, pulses: float, both_in_basis: float) -> float:
    """The true expectation of clicks from single photons."""
    sent = sum(share * mean * math.exp(-mean) for share, mean in zip(setup.shares, setup.intensities, strict=True))
    silent = (1 - setup.efficiency) * (1 - setup.link.background_yield)
    return pulses * both_in_basis * sent * (1 - silent)


def test_a_worked_example() -> None:
    """By hand from the paper's formulas, with Hoeffding's deviation sqrt(n/2 ln(21/eps)) and round intensities."""
    setup = Setup(0, LinkParameters(signal=0.5, decoy=0.1), signal_share=0.5, decoy_share=0.25)
    counts = Tally((1_000_000, 60_000, 1000), (500_000, 30_000, 500), (10_000, 700, 250))
    log = math.log(21 / EPS_SECRET)
    key_off, test_off, wrong_off = (math.sqrt(n / 2 * log) for n in (1_061_000, 530_500, 10_950))
    tau_one = 0.5 * 0.5 * math.exp(-0.5) + 0.25 * 0.1 * math.exp(-0.1)

    def single(signal: float, decoy: float, vacuum: float, off: float) -> float:
        low_decoy = math.exp(0.1) / 0.25 * (decoy - off)
        high_signal, high_vacuum = math.exp(0.5) / 0.5 * (signal + off), (vacuum + off) / 0.25
        return tau_one * 0.5 * (low_decoy - high_vacuum - 0.04 * high_signal) / (0.5 * 0.1 - 0.01)

    found = bounds(counts, setup)
    assert found.key_vacuum == 0
    assert found.key_single == pytest.approx(single(1_000_000, 60_000, 1000, key_off), rel=1e-12)
    assert found.test_single == pytest.approx(single(500_000, 30_000, 500, test_off), rel=1e-12)
    high_wrong = math.exp(0.1) / 0.25 * (700 + wrong_off)
    low_wrong = max(0.0, 250 - wrong_off) / 0.25
    wrong = tau_one * (high_wrong - low_wrong) / 0.1
    assert found.test_single_errors == pytest.approx(wrong, rel=1e-12)
    b, c, d = wrong / found.test_single, found.test_single, found.key_single
    gamma = math.sqrt(
        (c + d) * (1 - b) * b / (c * d * math.log(2)) * math.log2((c + d) / (c * d * (1 - b) * b) * 441 / 1e-20)
    )
    assert found.phase_error == pytest.approx(b + gamma, rel=1e-12)
    secret = found.key_single * (1 - binary_entropy(b + gamma))
    assert secret_key_bits(found, 1000) == math.floor(secret - 1000 - 6 * math.log2(21e10))


@pytest.mark.parametrize("km", [0, 25, 50])
def test_bounds_are_never_above_the_truth(km: int) -> None:
    """Hundreds of random tallies, each with every bound on the right side of what it bounds."""
    rng = np.random.default_rng(km)
    setup = Setup(km)
    pulses, key = 2e9, setup.key_basis_share
    mean = expectation(setup, pulses)
    truth = single_photon_clicks(setup, pulses, key**2)
    test_truth = single_photon_clicks(setup, pulses, (1 - key) ** 2)
    for _ in range(200):
        one, two, three = (tuple(rng.poisson(counts)) for counts in (mean.key, mean.test, mean.test_errors))
        drawn = Tally(one, two, three)
        found = bounds(drawn, setup)
        assert 0 < found.key_single < truth
        assert 0 < found.test_single < test_truth
        assert setup.link.misalignment < found.phase_error < 0.5


def test_many_pulses_give_the_asymptotic_rate() -> None:
    setup = Setup(50)
    rates = expected(setup, NoAttack())
    single = vacuum_weak_bound(rates.gain[0], rates.gain[1], rates.gain[2], rates.error[1])
    pulses = 1e17
    found = bounds(expectation(setup, pulses), setup)
    assert found.phase_error == pytest.approx(single.error, rel=1e-2)
    sent = sum(share * mean * math.exp(-mean) for share, mean in zip(setup.shares, setup.intensities, strict=True))
    assert found.key_single == pytest.approx(pulses * setup.key_basis_share**2 * sent * single.yield_, rel=1e-3)


def test_more_pulses_never_prove_less() -> None:
    setup = Setup(25)
    secret = [bounds(expectation(setup, 10.0**k), setup).secret_bits / 10.0**k for k in range(4, 15)]
    assert secret == sorted(secret)
    assert secret[0] == 0


def test_how_many_pulses_a_key_takes() -> None:
    setup = Setup(50)
    few = expectation(setup, 1e8)
    leaked = 1.1 * binary_entropy(0.034)
    needed = pulses_for_a_key(few, 10**8, setup, leaked)
    assert needed is not None
    assert needed > 1e8

    def length(pulses: float) -> int:
        counts = expectation(setup, pulses)
        return secret_key_bits(bounds(counts, setup), leaked * sum(counts.key))

    assert length(0.98 * needed) == 0
    assert length(1.02 * needed) > 0


def test_no_number_of_pulses_helps_where_nothing_is_secret() -> None:
    few = expectation(Setup(50, LinkParameters(misalignment=0.12)), 1e8)
    assert pulses_for_a_key(few, 10**8, Setup(50), binary_entropy(0.12)) is None


def test_no_errors_in_the_sample_are_no_proof_of_none() -> None:
    setup = Setup(0, LinkParameters(misalignment=0.0, background_yield=0.0))
    found = bounds(expectation(setup, 1e9), setup)
    assert 0 < found.phase_error < 0.1


def test_an_empty_tally_proves_nothing() -> None:
    found = bounds(Tally(), Setup(50))
    assert (found.key_single, found.phase_error, found.secret_bits) == (0, 0.5, 0)
    assert secret_key_bits(found, 0) == 0
    assert overhead_bits() == pytest.approx(6 * math.log2(21e10))


def test_a_tally_counts_by_basis_and_intensity() -> None:
    basis = np.array([0, 1, 0, 1, 1, 0, 1], dtype=np.uint8)
    intensity = np.array([0, 0, 1, 1, 2, 2, 0], dtype=np.uint8)
    counts = tally(basis, intensity, np.array([1, 0, 1, 0], dtype=np.uint8))
    assert counts == Tally(key=(1, 1, 1), test=(2, 1, 1), test_errors=(1, 0, 1))
    assert counts.qber == 0.5
    assert (counts + counts) == counts.scaled(2)
    assert Tally().qber is None
