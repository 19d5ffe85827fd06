"""Transmissions and distillations for tests of the BB84 chain."""

import asyncio
from collections.abc import Callable

import numpy as np

from qkms_qkd.bb84.chain.alice import Alice
from qkms_qkd.bb84.chain.authentication import AuthenticationKeys
from qkms_qkd.bb84.chain.block import Block, Limits
from qkms_qkd.bb84.chain.bob import Bob
from qkms_qkd.bb84.chain.line import Wire
from qkms_qkd.bb84.decoy import LinkParameters
from qkms_qkd.bb84.memory_wire import distil, memory_wires
from qkms_qkd.bb84.physics.attacks import Attack, NoAttack
from qkms_qkd.bb84.physics.pulses import seeded_bits, transmit
from qkms_qkd.bb84.physics.records import Detections, Preparations, joined_detections, joined_preparations
from qkms_qkd.bb84.physics.setup import Setup

GOOD_LINK = Setup(
    0,
    LinkParameters(receiver_efficiency=0.9, misalignment=0.003, signal=0.6, decoy=0.2),
    signal_share=0.3,
    decoy_share=0.5,
    key_basis_share=0.5,
)
"""A link that gives a key from few pulses."""

GOOD_PULSES = 250_000

Notes = tuple[Preparations, Detections]
Wires = Callable[[tuple[Wire, Wire]], tuple[Wire, Wire]]


def notes(setup: Setup, pulses: int, attack: Attack | None = None, seed: int = 1) -> Notes:
    """Both notebooks after a transmission."""
    rng = np.random.default_rng(seed)
    parts = list(transmit(setup, attack or NoAttack(), pulses, rng, seeded_bits(rng)))
    return joined_preparations([part[0] for part in parts]), joined_detections([part[1] for part in parts])


def parties(setup: Setup, secret: bytes, seed: int = 2, limits: Limits | None = None) -> tuple[Alice, Bob]:
    """Both parties, sharing this secret."""
    bits = seeded_bits(np.random.default_rng(seed))
    alice = Alice(setup, AuthenticationKeys(secret), bits, limits or Limits())
    return alice, Bob(setup, AuthenticationKeys(secret), limits or Limits())


def distilled(
    pair: tuple[Alice, Bob], written: Notes, wires: Wires = lambda ends: ends, alarm: str | None = None
) -> tuple[Block, Block]:
    """Both accounts of a block, over wires that `wires` may have tampered with."""

    async def run() -> tuple[Block, Block]:
        return await distil(*pair, *written, wires(memory_wires()), alarm)

    return asyncio.run(run())
