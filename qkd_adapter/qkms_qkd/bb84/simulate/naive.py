"""The same link as `pulses`, one pulse after another in plain Python: every photon and every dark count drawn.

What the fast sampler is held to, in a test of its distribution and in the benchmark of its speed. It shares
with it the setup and the eavesdropper's routes and no sampling code.
"""

import random

import numpy as np

from qkms_qkd.bb84.physics.attacks import Attack, Route, State
from qkms_qkd.bb84.physics.records import Detections, Preparations
from qkms_qkd.bb84.physics.setup import Setup, photon_numbers


def transmit_naively(setup: Setup, attack: Attack, pulses: int, seed: int) -> tuple[Preparations, Detections]:
    """Sends `pulses` pulses; both parties' notes of those that clicked."""
    draw = random.Random(seed)  # noqa: S311 - a simulation, never keys
    numbers = [photon_numbers(mean) for mean in setup.intensities]
    routes = [[attack.routes(setup, n) for n in range(len(row))] for row in numbers]
    sent = [0, 0, 0]
    rows: list[tuple[int, int, int, int, int, int]] = []
    doubles = 0
    busy_until = 0
    for position in range(pulses):
        intensity = _index(setup.shares, draw.random())
        sent[intensity] += 1
        basis, bit = int(draw.random() >= setup.key_basis_share), draw.getrandbits(1)
        photons = _index(numbers[intensity], draw.random())
        options = routes[intensity][photons]
        route = options[_index([option.share for option in options], draw.random())]
        bob_basis = int(draw.random() >= setup.key_basis_share)
        clicks = _detectors(setup, route, basis, bit, bob_basis, draw)
        if not any(clicks) or position < busy_until:
            continue
        busy_until = position + setup.dead_time_pulses + 1
        doubles += all(clicks)
        bob_bit = draw.getrandbits(1) if all(clicks) else int(clicks[1])
        rows.append((position, basis, bit, intensity, bob_basis, bob_bit))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    position_, basis_, bit_, intensity_, bob_basis_, bob_bit_ = columns
    u8 = np.uint8
    return (
        Preparations(
            position_, basis_.astype(u8), bit_.astype(u8), intensity_.astype(u8), (sent[0], sent[1], sent[2])
        ),
        Detections(position_, bob_basis_.astype(u8), bob_bit_.astype(u8), doubles, pulses),
    )


def _index(probabilities: list[float] | tuple[float, ...], point: float) -> int:
    for index, probability in enumerate(probabilities):
        point -= probability
        if point < 0:
            return index
    return len(probabilities) - 1


def _detectors(
    setup: Setup, route: Route, basis: int, bit: int, bob_basis: int, draw: random.Random
) -> tuple[bool, bool]:
    """Which of the two detectors click."""
    if route.state is not State.OWN:
        her_basis, coin = draw.getrandbits(1), draw.getrandbits(1)
        basis, bit = her_basis, (bit if her_basis == basis and route.photons else coin)
    if route.state is State.FAKED:
        # The route's efficiency counts in that Bob's basis meets hers half of the time.
        fires = basis == bob_basis and draw.random() < 2 * route.efficiency
        return fires and bit == 0, fires and bit == 1
    clicks = [draw.random() < setup.dark_count, draw.random() < setup.dark_count]
    for _ in range(route.photons):
        if draw.random() < route.efficiency:
            error = setup.link.misalignment if basis == bob_basis else 0.5
            clicks[bit ^ (draw.random() < error)] = True
    return clicks[0], clicks[1]
