"""One simulation: pulses, monitors, both parties' distillation, and what an observer measures.

Everything is drawn from one seed: the keys that come out are for looking at and for nothing else.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qkms_qkd.bb84.chain.alice import Alice
from qkms_qkd.bb84.chain.authentication import SLOT_BYTES, AuthenticationKeys
from qkms_qkd.bb84.chain.block import Block, Limits
from qkms_qkd.bb84.chain.bob import Bob
from qkms_qkd.bb84.chain.finite_key import pulses_for_a_key
from qkms_qkd.bb84.decoy import binary_entropy
from qkms_qkd.bb84.memory_wire import distil, memory_wires
from qkms_qkd.bb84.physics.attacks import Attack
from qkms_qkd.bb84.physics.monitor import Reading, read
from qkms_qkd.bb84.physics.pulses import seeded_bits, transmit
from qkms_qkd.bb84.physics.records import joined_detections, joined_preparations
from qkms_qkd.bb84.physics.setup import Setup
from qkms_qkd.bb84.simulate.measurement import Counts, Quantity, count, quantities

Progress = Callable[[str, float], None]
"""Told what is being done, and how much of it is done (0 to 1)."""

PRESHARED_BYTES = 8 * SLOT_BYTES
_EXPECTED_EFFICIENCY = 1.06
"""Of error correction, where none was reached: to say how many pulses a key would take."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What one run gave. `pulses_for_a_key` is None if these rates give none, however many pulses are sent."""

    setup: Setup
    attack: Attack
    pulses: int
    seed: int
    counts: Counts
    quantities: list[Quantity]
    reading: Reading
    alice: Block
    bob: Block
    authentication_left_blocks: int
    pulses_for_a_key: float | None
    transmission_s: float
    distillation_s: float


def simulate(setup: Setup, attack: Attack, pulses: int, seed: int, progress: Progress) -> Simulation:
    """Runs it; takes some nanoseconds per pulse and microseconds per click."""
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    parts = []
    done = 0
    for part in transmit(setup, attack, pulses, rng, seeded_bits(rng)):
        parts.append(part)
        done += part[1].pulses
        progress("transmitting", done / pulses)
    sent = joined_preparations([part[0] for part in parts])
    found = joined_detections([part[1] for part in parts])
    del parts
    transmitted = time.perf_counter()

    reading = read(setup, attack, found, rng)
    secret = rng.bytes(PRESHARED_BYTES)
    alice = Alice(setup, AuthenticationKeys(secret), seeded_bits(rng), Limits())
    bob = Bob(setup, AuthenticationKeys(secret), Limits(), lambda done: progress("correcting", done))
    hers, his = asyncio.run(distil(alice, bob, sent, found, memory_wires(), reading.alarm))
    finished = time.perf_counter()

    counts = count(sent, found)
    return Simulation(
        setup=setup,
        attack=attack,
        pulses=pulses,
        seed=seed,
        counts=counts,
        quantities=quantities(setup, attack, counts),
        reading=reading,
        alice=hers,
        bob=his,
        authentication_left_blocks=alice.keys.left_slots,
        pulses_for_a_key=_needed(hers, pulses, setup),
        transmission_s=transmitted - started,
        distillation_s=finished - transmitted,
    )


def reconciliation_efficiency(block: Block) -> float | None:
    """Parities told over what Shannon's bound would have told; None before error correction."""
    if not block.flipped_bits or not block.verified:
        return None
    return block.parity_bits / (block.sifted_bits * binary_entropy(block.flipped_bits / block.sifted_bits))


def _needed(block: Block, pulses: int, setup: Setup) -> float | None:
    if block.tally.qber is None:
        return None
    per_click = _EXPECTED_EFFICIENCY * binary_entropy(min(0.5, block.tally.qber))
    return pulses_for_a_key(block.tally, pulses, setup, per_click)
