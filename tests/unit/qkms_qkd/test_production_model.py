"""How many keys a simulated link gives over time, by hand on a clock of numbers."""

import pytest

from qkms_qkd.bb84.decoy import figures
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.production import Production, quality

PULSES = 1e8
RATE_BPS = figures(25).rate_vacuum_weak * PULSES


def link(now_s: float = 0.0) -> Production:
    return Production(25.0, PULSES, 0.11, now_s)


def test_keys_come_at_the_rate_of_the_model() -> None:
    production = link(1000.0)
    total = sum(production.take(256, 10_000, 1000.0 + i / 10) for i in range(1, 101))
    assert total == int(RATE_BPS * 10 / 256)


def test_bits_of_an_unfinished_key_are_kept() -> None:
    production = link()
    half = 128 / RATE_BPS
    assert production.take(256, 10, half) == 0
    assert production.take(256, 10, 2.001 * half) == 1


def test_a_full_store_takes_no_more_and_nothing_is_saved_up() -> None:
    production = link()
    assert production.take(256, 3, 10.0) == 3
    assert production.take(256, 1000, 10.0) == 0
    assert production.take(256, 0, 20.0) == 0
    assert production.take(256, 1000, 20.0) == 0


def test_an_eavesdropper_at_any_time_of_a_block_costs_the_block() -> None:
    production = link()
    production.set_faults(Faults(intercept_resend=0.4), 1.0)
    production.set_faults(Faults(), 1.001)
    assert production.take(256, 10_000, 2.0) == 0
    assert production.discarded_blocks == 1
    assert production.take(256, 10_000, 3.0) > 0


def test_a_cut_gives_neither_keys_nor_figures() -> None:
    cut = quality(25, PULSES, Faults(cut=True), 0.11)
    assert (cut.qber, cut.skr_bps, cut.secure) == (None, 0.0, False)


def test_eavesdropping_below_the_threshold_lowers_the_rate() -> None:
    clean, disturbed = (
        quality(25, PULSES, Faults(), 0.11),
        quality(25, PULSES, Faults(intercept_resend=0.04), 0.11),
    )
    assert clean.qber is not None
    assert disturbed.qber == pytest.approx(clean.qber + 0.01 * (1 - 2 * 0.033), rel=1e-3)
    assert 0 < disturbed.skr_bps < clean.skr_bps


def test_a_degraded_link_is_insecure_over_the_threshold_only() -> None:
    assert quality(25, PULSES, Faults(extra_misalignment=0.07), 0.11).secure
    degraded = quality(25, PULSES, Faults(extra_misalignment=0.09), 0.11)
    assert degraded.qber is not None
    assert degraded.qber > 0.12
    assert not degraded.secure
    assert degraded.skr_bps == 0


def test_a_lower_threshold_holds() -> None:
    assert not quality(25, PULSES, Faults(), 0.03).secure


def test_time_without_a_peer_gives_nothing() -> None:
    production = link()
    production.restart(100.0)
    assert production.take(256, 10_000, 100.0) == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"intercept_resend": 1.1},
        {"intercept_resend": -0.1},
        {"extra_misalignment": 0.5},
        {"extra_misalignment": -1},
    ],
)
def test_senseless_faults_are_refused(fault: dict[str, float]) -> None:
    [name] = fault
    with pytest.raises(ValueError, match=name):
        Faults(**fault)  # type: ignore[arg-type]
