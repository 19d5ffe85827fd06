"""Scenarios of the quantum side: links cut, KMEs gone, an eavesdropper."""

import random

from qkms_chaos.faults.schedule import KillKme, QuantumFault, Revive, Step
from qkms_chaos.scenarios.scenario import NODES, Plan, Scenario


def _cut(rng: random.Random, seconds: float) -> Plan:
    one, other = rng.sample(NODES, 2)
    steps = [
        Step(2.0, QuantumFault(one, other, {"cut": True})),
        Step(round(seconds * 0.4, 2), KillKme(rng.choice(NODES))),
        # First the KMEs: one that is dead takes no word of its link being sound.
        Step(round(seconds * 0.6, 2), Revive()),
        Step(round(seconds * 0.6 + 0.1, 2), QuantumFault(one, other, {})),
    ]
    return Plan(steps)


def _eavesdropper(rng: random.Random, seconds: float) -> Plan:
    one, other = rng.sample(NODES, 2)
    steps = [
        Step(2.0, QuantumFault(one, other, {"intercept_resend": 0.6})),
        Step(round(seconds * 0.6, 2), QuantumFault(one, other, {})),
    ]
    return Plan(steps)


SCENARIOS = {
    "qkd-cut-and-heal": Scenario(
        "A quantum link is cut and a KME dies: keys in use are used on, and nothing is answered otherwise.", _cut
    ),
    "eavesdropper": Scenario(
        "Somebody measures the pulses of a link: no root is seeded from its keys, and keys in use are used on.",
        _eavesdropper,
    ),
}
