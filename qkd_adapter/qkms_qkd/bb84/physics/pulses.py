"""A link pulse by pulse: which pulses click, and what Alice and Bob note of them.

Only clicks are drawn, yet their joint distribution is exactly that of looking at every pulse. Pulses are
independent and each falls into one of the `cells` or stays silent, so in a stretch of N pulses the number of
clicks is binomial, their cells are multinomial, their places a uniform subset of N, and which click has which
cell is a uniform arrangement. What a cell leaves open is drawn per click: bases, bits, the detector each photon
meets. Dead time is then applied to the sequence of clicks, across stretches. Memory is bounded by the clicks of
a stretch. `simulate.naive` draws the same physics without any of this; a test holds one to the other.

Randomness. `rng` draws what nature, Bob's coin and the eavesdropper do, and the bases; `bits` gives Alice's bits,
the only secret of them all. For simulations both may come from one seed. For keys that are handed out `bits`
must be the operating system's generator: PCG64 is no cipher, and bases and positions are published, so whoever
reconstructs its state from them must not find the key in it.

Left out: afterpulses, jitter, drift, detectors of unequal efficiency.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.physics.attacks import Attack, State
from qkms_qkd.bb84.physics.cells import Cells, cells
from qkms_qkd.bb84.physics.records import Bits, Detections, Preparations
from qkms_qkd.bb84.physics.setup import Setup

BitSource = Callable[[int], Bits]
"""Gives so many independent fair bits, one per byte."""

STRETCH_CLICKS = 1 << 17
"""Expected clicks per stretch: some ten megabytes at work, however many pulses that takes."""


def seeded_bits(rng: np.random.Generator) -> BitSource:
    """Reproducible bits, for simulations only."""
    return lambda count: np.unpackbits(np.frombuffer(rng.bytes((count + 7) // 8), dtype=np.uint8), count=count)


def transmit(
    setup: Setup,
    attack: Attack,
    pulses: int,
    rng: np.random.Generator,
    bits: BitSource,
    stretch_clicks: int = STRETCH_CLICKS,
) -> Iterator[tuple[Preparations, Detections]]:
    """Sends `pulses` pulses; both parties' notes, stretch by stretch."""
    table = cells(setup, attack)
    stretch_pulses = math.ceil(stretch_clicks / max(float(table.probability.sum()), stretch_clicks / pulses))
    busy_until = 0
    for start in range(0, pulses, stretch_pulses):
        number = min(stretch_pulses, pulses - start)
        position, label, sent = _clicks(table, number, rng)
        position += start
        if setup.dead_time_pulses:
            live, busy_until = ready(position, setup.dead_time_pulses, busy_until)
            position, label = position[live], label[live]
        yield _notes(setup, table, position, label, sent, number, rng, bits)


def _clicks(
    table: Cells, pulses: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.intp], tuple[int, int, int]]:
    """Where it clicks, in which cell each, and how many pulses had each intensity."""
    any_click = float(table.probability.sum())
    clicks = int(rng.binomial(pulses, min(1.0, any_click)))
    by_cell = rng.multinomial(clicks, table.probability / any_click) if clicks else np.zeros_like(table.detected)
    silent = rng.multinomial(pulses - clicks, table.silent / table.silent.sum())
    signal, decoy, vacuum = (int(by_cell[table.intensity == k].sum() + silent[k]) for k in range(3))
    label = rng.permutation(np.repeat(np.arange(by_cell.size), by_cell))
    return _places(pulses, clicks, rng), label, (signal, decoy, vacuum)


def _places(pulses: int, clicks: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A uniform subset of so many pulses, ascending: drawn one by one, repetitions ignored."""
    if clicks > pulses // 4:
        return np.sort(rng.choice(pulses, clicks, replace=False)).astype(np.int64)
    found = np.unique(rng.integers(pulses, size=clicks))
    while found.size < clicks:
        found = np.union1d(found, rng.integers(pulses, size=clicks - found.size))
    return found


def ready(position: NDArray[np.int64], dead_time: int, busy_until: int) -> tuple[NDArray[np.bool_], int]:
    """Which clicks (ascending) find the detectors ready, and the first pulse that does after the last of them.

    A click is surely live if nothing came within the dead time before it; from there each live click leads to
    the first one after its dead time. All such chains are followed at once."""
    live = np.zeros(position.size, dtype=np.bool_)
    first = int(np.searchsorted(position, busy_until))
    if first == position.size:
        return live, busy_until
    following = np.searchsorted(position, position + dead_time, side="right")
    fresh = np.diff(position[first:], prepend=position[first] - dead_time - 1) > dead_time
    frontier = np.flatnonzero(fresh) + first
    while frontier.size:
        live[frontier] = True
        frontier = following[frontier]
        frontier = frontier[frontier < position.size]
        frontier = frontier[~live[frontier]]
    return live, int(position[live][-1]) + dead_time + 1


def _notes(
    setup: Setup,
    table: Cells,
    position: NDArray[np.int64],
    label: NDArray[np.intp],
    sent: tuple[int, int, int],
    pulses: int,
    rng: np.random.Generator,
    bits: BitSource,
) -> tuple[Preparations, Detections]:
    number = position.size
    coins = seeded_bits(rng)
    alice_basis = _basis(setup, number, rng)
    bob_basis = _basis(setup, number, rng)
    alice_bit = bits(number)
    state, detected, dark = table.state[label], table.detected[label], table.dark[label]

    basis, bit = _arriving(alice_basis, alice_bit, bob_basis, state, detected, coins)
    error = np.where(basis == bob_basis, setup.link.misalignment, 0.5)
    error[state == State.FAKED] = 0.0
    wrong = _wrong_photons(detected, error, rng)
    # A faked pulse always makes exactly one detector click.
    right_hit = (detected > wrong) | (state == State.FAKED)
    wrong_hit = wrong > 0
    one = np.where(bit == 1, right_hit, wrong_hit) | ((dark & 2) > 0)
    zero = np.where(bit == 1, wrong_hit, right_hit) | ((dark & 1) > 0)
    double = one & zero
    bob_bit = np.where(double, coins(number), one).astype(np.uint8)
    return (
        Preparations(position, alice_basis, alice_bit, table.intensity[label], sent),
        Detections(position, bob_basis, bob_bit, int(double.sum()), pulses),
    )


def _basis(setup: Setup, number: int, rng: np.random.Generator) -> Bits:
    return (rng.random(number) >= setup.key_basis_share).astype(np.uint8)


def _arriving(
    basis: Bits, bit: Bits, bob_basis: Bits, state: Bits, detected: NDArray[np.int64], coins: BitSource
) -> tuple[Bits, Bits]:
    """The basis and bit of the state that reaches Bob."""
    if not state.any():
        return basis, bit
    number = basis.size
    hers = np.where(state == State.FAKED, bob_basis, coins(number))
    found = np.where((hers == basis) & (detected > 0), bit, coins(number))
    own = state == State.OWN
    return np.where(own, basis, hers), np.where(own, bit, found)


def _wrong_photons(
    detected: NDArray[np.int64], error: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """How many of the detected photons of each click went to the wrong detector."""
    wrong = ((rng.random(detected.size) < error) & (detected > 0)).astype(np.int64)
    several = np.flatnonzero(detected > 1)
    wrong[several] = rng.binomial(detected[several], error[several])
    return wrong
