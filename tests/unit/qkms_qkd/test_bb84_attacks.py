"""What each eavesdropper does to what Alice and Bob see, and what gives her away."""

import math

import numpy as np
import pytest

from bb84_runs import distilled, notes, parties
from qkms_qkd.bb84.decoy import LinkParameters
from qkms_qkd.bb84.physics.attacks import (
    Attack,
    Blinding,
    InterceptResend,
    NoAttack,
    PhotonNumberSplitting,
)
from qkms_qkd.bb84.physics.monitor import ALARM_A, Reading, chance, read
from qkms_qkd.bb84.physics.setup import Setup
from qkms_qkd.bb84.simulate.measurement import Quantity, count, quantities

LINK = Setup(50)
PULSES = 2 * 10**8


def measured(attack: Attack, setup: Setup = LINK, pulses: int = PULSES) -> dict[str, Quantity]:
    return {one.name: one for one in quantities(setup, attack, count(*notes(setup, pulses, attack)))}


def test_full_intercept_resend_shows_a_quarter_of_errors() -> None:
    perfect = Setup(0, LinkParameters(misalignment=0.0, background_yield=0.0))
    found = measured(InterceptResend(1.0), perfect, 10**7)["QBER, signal"]
    assert abs(found.measured - 0.25) < 4 * found.standard_error < 0.01


@pytest.mark.parametrize(("fraction", "qber"), [(0.1, 0.0567), (1.0, 0.2664)])
def test_intercept_resend_on_a_real_link(fraction: float, qber: float) -> None:
    found = measured(InterceptResend(fraction))
    assert abs(found["QBER, signal"].measured - qber) < 4 * found["QBER, signal"].standard_error
    assert abs(found["gain, signal"].measured - 1.925e-3) < 4 * found["gain, signal"].standard_error


def test_a_block_over_the_threshold_is_discarded_before_anything_is_said_of_the_key() -> None:
    for block in distilled(parties(LINK, bytes(256)), notes(LINK, 10**8, InterceptResend(0.5))):
        assert block.discarded is not None
        assert block.discarded.code == "QBER_TOO_HIGH"
        assert block.parity_bits == 0
        assert block.key == b""


def test_decoys_reveal_photon_number_splitting() -> None:
    found, quiet = measured(PhotonNumberSplitting(1.0)), measured(NoAttack())
    for name in ("gain, signal", "QBER, signal"):
        assert abs(found[name].measured - found[name].undisturbed) < 4 * found[name].standard_error
    assert found["gain, decoy"].measured < 0.2 * quiet["gain, decoy"].measured
    assert quiet["single-photon yield, at least"].measured > 3.5e-3
    assert found["single-photon yield, at least"].measured == 0
    assert found["key rate per pulse, asymptotic"].measured < 0 < quiet["key rate per pulse, asymptotic"].measured


def test_photon_number_splitting_leaves_no_key_whatever_the_qber() -> None:
    setup = Setup(50)
    written = notes(setup, 2 * 10**8, PhotonNumberSplitting(1.0))
    for block in distilled(parties(setup, bytes(256)), written):
        assert block.tally.qber == pytest.approx(0.034, abs=0.004)
        assert block.bounds is not None
        assert block.bounds.key_single == 0
        assert block.key == b""
        assert block.discarded is not None
    assert distilled(parties(setup, bytes(256)), notes(setup, 10**9))[0].key != b""


def test_without_a_fibre_of_her_own_splitting_costs_gain() -> None:
    found = measured(PhotonNumberSplitting(1.0, lossless=False))
    assert found["gain, signal"].measured < 0.85 * found["gain, signal"].undisturbed


def test_blinding_shows_in_no_yield_and_makes_no_error() -> None:
    found = measured(Blinding(1.0))
    for name in ("gain, signal", "gain, decoy", "gain, vacuum", "single-photon yield, at least"):
        assert abs(found[name].measured - found[name].undisturbed) < 4 * found[name].standard_error
    assert found["QBER, signal"].measured < 0.001


def test_blinding_is_seen_in_the_current_and_in_missing_double_clicks() -> None:
    rng = np.random.default_rng(1)
    quiet = read(LINK, NoAttack(), notes(LINK, PULSES)[1], rng)
    blinded = read(LINK, Blinding(1.0), notes(LINK, PULSES, Blinding(1.0))[1], rng)
    assert quiet.alarm is None
    assert not quiet.double_clicks_suspicious
    assert blinded.alarm is not None
    assert blinded.double_clicks == 0 < blinded.double_clicks_expected
    assert blinded.double_clicks_suspicious


def test_blinding_for_a_short_time_stays_below_the_alarm() -> None:
    """A mean current is a blunt instrument; the documents say so."""
    found = notes(LINK, 10**7, Blinding(0.02))[1]
    assert read(LINK, Blinding(0.02), found, np.random.default_rng(1)).current_a < ALARM_A


def test_an_alarm_discards_the_block_unheard() -> None:
    reading = Reading(1e-3, 0, 10.0, 1e-5)
    assert reading.alarm is not None
    hers, his = distilled(parties(LINK, bytes(256)), notes(LINK, 10**6), alarm=reading.alarm)
    assert his.discarded is not None
    assert his.discarded.code == "DETECTORS_BLINDED"
    assert hers.discarded is not None
    assert "alarm" in hers.discarded.message
    assert (hers.key, his.key, hers.sifted_bits) == (b"", b"", 0)


@pytest.mark.parametrize(("seen", "mean"), [(0, 3.0), (2, 3.0), (3, 3.0), (9, 3.0), (40, 60.0), (1000, 900.0)])
def test_the_chance_of_so_many_double_clicks(seen: int, mean: float) -> None:
    below = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(seen + 1))
    exactly = math.exp(seen * math.log(mean) - mean - math.lgamma(seen + 1))
    assert chance(seen, mean) == pytest.approx(min(1.0, 2 * min(below, 1 - below + exactly)), rel=1e-9)


def test_the_chance_of_double_clicks_far_off() -> None:
    assert chance(0, 5000.0) < 1e-300
    assert chance(100_000, 10.0) == 0
    assert chance(0, 0.0) == 1
    assert chance(1, 0.0) == 0
