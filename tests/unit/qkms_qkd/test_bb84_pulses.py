"""Simulated pulses: the published figures within statistical error, and the very distribution of a plain loop."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bb84_runs import notes
from qkms_qkd.bb84.decoy import LinkParameters, figures
from qkms_qkd.bb84.physics.attacks import (
    Attack,
    Blinding,
    InterceptResend,
    NoAttack,
    PhotonNumberSplitting,
    attack_named,
)
from qkms_qkd.bb84.physics.cells import cells, expected
from qkms_qkd.bb84.physics.pulses import ready, seeded_bits, transmit
from qkms_qkd.bb84.physics.records import Detections, Preparations
from qkms_qkd.bb84.physics.setup import SIGNAL, Setup, photon_numbers
from qkms_qkd.bb84.simulate.measurement import count, quantities
from qkms_qkd.bb84.simulate.naive import transmit_naively

Table = np.typing.NDArray[np.int64]

PUBLISHED = [
    # km, pulses, Q_mu, QBER, R vacuum + weak
    (0, 3 * 10**7, 2.137e-2, 0.0330, 2.414e-3),
    (50, 3 * 10**8, 1.925e-3, 0.0334, 2.096e-4),
    (100, 3 * 10**9, 1.733e-4, 0.0376, 1.602e-5),
    (140, 3 * 10**10, 2.650e-5, 0.0630, 7.378e-8),
]


@pytest.mark.parametrize(("km", "pulses", "gain", "qber", "rate"), PUBLISHED)
def test_published_figures_within_four_standard_errors(
    km: float, pulses: int, gain: float, qber: float, rate: float
) -> None:
    setup = Setup(km)
    found = {one.name: one for one in quantities(setup, NoAttack(), count(*notes(setup, pulses)))}
    for name, published, digits in (
        ("gain, signal", gain, 5e-4 * gain),
        ("QBER, signal", qber, 5e-5),
        ("key rate per pulse, asymptotic", rate, 5e-4 * rate),
    ):
        assert abs(found[name].measured - published) < 4 * found[name].standard_error + digits, name
    assert found["gain, signal"].standard_error < 0.005 * gain


@pytest.mark.parametrize("km", [0, 50, 100, 140])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_cells_add_up_to_the_closed_form(km: float, fraction: float) -> None:
    """Which counts two photons of a pulse in different detectors as one right click, not as a coin."""
    rates, closed = expected(Setup(km), InterceptResend(fraction)), figures(km, intercept_resend=fraction)
    assert rates.gain[SIGNAL] == pytest.approx(closed.gain, rel=1e-5)
    assert rates.error[SIGNAL] == pytest.approx(closed.qber, rel=5e-5)


@pytest.mark.parametrize("attack", [NoAttack(), InterceptResend(0.5), PhotonNumberSplitting(0.7), Blinding(0.4)])
def test_cells_are_a_distribution(attack: Attack) -> None:
    found = cells(Setup(30), attack)
    assert found.probability.min() >= 0
    assert found.probability.sum() + found.silent.sum() == pytest.approx(1.0, abs=1e-12)


BRIGHT = Setup(
    5, LinkParameters(receiver_efficiency=0.8, background_yield=0.02, signal=0.9, decoy=0.3), dead_time_pulses=3
)


@pytest.mark.parametrize(
    "attack",
    [NoAttack(), InterceptResend(0.6), PhotonNumberSplitting(0.8), Blinding(0.5)],
    ids=lambda one: one.name,
)
def test_as_a_plain_loop_over_pulses(attack: Attack) -> None:
    """Both samplers fill the same tables of clicks."""
    fast = _tables(*notes(BRIGHT, 1_000_000, attack, seed=5))
    slow = _tables(*transmit_naively(BRIGHT, attack, 120_000, seed=6))
    for name, table in slow.items():
        statistic, freedom = _chi_squared(table, fast[name])
        assert statistic < freedom + 5 * np.sqrt(2 * freedom), name


def test_rates_of_clicks_and_double_clicks_as_a_plain_loop() -> None:
    _, fast = notes(BRIGHT, 1_000_000)
    _, slow = transmit_naively(BRIGHT, NoAttack(), 120_000, seed=7)
    for one, other in ((fast.position.size, slow.position.size), (fast.double, slow.double)):
        rate = other / slow.pulses
        assert one / fast.pulses == pytest.approx(rate, abs=5 * np.sqrt(rate / slow.pulses))


def _tables(sent: Preparations, found: Detections) -> dict[str, Table]:
    gap = np.minimum(np.diff(found.position, prepend=found.position[0]), 40) // 8
    same, wrong = sent.basis == found.basis, sent.bit != found.bit
    return {
        "errors": _joint((sent.intensity, 3), (same, 2), (wrong, 2)),
        "bases and bits": _joint((sent.basis, 2), (found.basis, 2), (sent.bit, 2), (found.bit, 2)),
        "neighbours": _joint((sent.intensity[1:], 3), (sent.intensity[:-1], 3), (gap[1:], 6)),
    }


def _joint(*columns: tuple[np.typing.NDArray[Any], int]) -> Table:
    index = np.zeros(columns[0][0].size, dtype=np.int64)
    for column, size in columns:
        index = index * size + column
    return np.bincount(index, minlength=int(np.prod([size for _, size in columns])))


def _chi_squared(one: Table, other: Table) -> tuple[float, int]:
    """Of two samples being of one distribution, over the cells that are not nearly empty."""
    enough = one + other > 10
    first, second = one[enough], other[enough]
    weight = np.sqrt(second.sum() / first.sum())
    return float(((first * weight - second / weight) ** 2 / (first + second)).sum()), first.size - 1


@settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 12), max_size=80),
    dead_time=st.integers(0, 30),
    busy_until=st.integers(0, 60),
)
def test_dead_time_as_one_click_after_another(gaps: list[int], dead_time: int, busy_until: int) -> None:
    position = np.cumsum(np.array(gaps, dtype=np.int64))
    due, until = [], busy_until
    for place in position:
        due.append(place >= until)
        until = int(place) + dead_time + 1 if due[-1] else until
    live, after = ready(position, dead_time, busy_until)
    assert live.tolist() == due
    assert after == until


def test_dead_time_holds_across_stretches() -> None:
    rng = np.random.default_rng(3)
    setup = Setup(0, LinkParameters(receiver_efficiency=1.0), dead_time_pulses=7)
    parts = list(transmit(setup, NoAttack(), 20_000, rng, seeded_bits(rng), stretch_clicks=20))
    assert len(parts) > 100
    position = np.concatenate([found.position for _, found in parts])
    assert np.diff(position).min() == 8
    assert sum(found.pulses for _, found in parts) == sum(sum(sent.sent) for sent, _ in parts) == 20_000


def test_memory_is_bounded_however_many_pulses() -> None:
    rng = np.random.default_rng(4)
    tracemalloc.start()
    try:
        clicks = sum(
            found.position.size for _, found in transmit(Setup(0), NoAttack(), 10**8, rng, seeded_bits(rng))
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert clicks > 900_000
    assert peak < 32e6


def test_alices_bits_are_those_of_the_source_she_was_given_and_decide_nothing_else() -> None:
    drawn: list[np.typing.NDArray[np.uint8]] = []

    def source(count: int) -> np.typing.NDArray[np.uint8]:
        drawn.append(np.random.default_rng(99).integers(0, 2, count, dtype=np.uint8))
        return drawn[-1]

    def run(bits_of_the_seed: bool) -> tuple[Preparations, Detections]:
        rng = np.random.default_rng(8)
        own = np.random.default_rng(11)
        bits = seeded_bits(own) if bits_of_the_seed else source
        [part] = transmit(Setup(10), NoAttack(), 10**6, rng, bits)
        return part

    sent, found = run(bits_of_the_seed=False)
    assert (sent.bit == drawn[0]).all()
    other, other_found = run(bits_of_the_seed=True)
    assert (other.bit != sent.bit).any()
    for one, two in ((sent.position, other.position), (sent.basis, other.basis), (found.basis, other_found.basis)):
        assert (one == two).all()


def test_a_seed_repeats_itself() -> None:
    (one, _), (two, _), (three, _) = (notes(Setup(20), 10**6, seed=seed) for seed in (1, 1, 2))
    assert one.position.tolist() == two.position.tolist()
    assert one.bit.tolist() == two.bit.tolist()
    assert one.position.tolist() != three.position.tolist()


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.48, 5.0])
def test_photon_numbers(mean: float) -> None:
    found = photon_numbers(mean)
    assert sum(found) == pytest.approx(1.0, abs=1e-15)
    assert sum(n * p for n, p in enumerate(found)) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"length_km": -1.0}, "length_km"),
        ({"length_km": float("nan")}, "length_km"),
        ({"signal_share": 0.7, "decoy_share": 0.3}, "signal_share"),
        ({"key_basis_share": 1.0}, "key_basis_share"),
        ({"dead_time_pulses": -1}, "dead_time_pulses"),
        ({"link": LinkParameters(decoy=0.5)}, "decoy"),
    ],
)
def test_a_setup_that_cannot_be_is_refused(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Setup(**{"length_km": 1.0} | wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "fraction"), [("pns", 1.1), ("pns", -0.1), ("tickling", 0.5)])
def test_an_attack_that_cannot_be_is_refused(name: str, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"fraction|tickling"):
        attack_named(name, fraction)
