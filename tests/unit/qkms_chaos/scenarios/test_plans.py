"""What the schedules of all scenarios have in common, whatever the seed."""

import random

import pytest

from qkms_chaos.faults.schedule import KillKme, KmeLies, QuantumFault, Revive, decode, encode
from qkms_chaos.scenarios import lies, network, processes, quantum

SCENARIOS = {**network.SCENARIOS, **processes.SCENARIOS, **quantum.SCENARIOS, **lies.SCENARIOS}
SEEDS = 40


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_schedule_is_in_order_and_tells_no_dead_kme_anything(name: str) -> None:
    scenario = SCENARIOS[name]
    for seed in range(SEEDS):
        steps = scenario.plan(random.Random(seed), scenario.seconds).steps
        assert decode(encode(steps)) == steps
        assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
        dead: set[str] = set()
        for step in steps:
            match step.fault:
                case KillKme(node):
                    dead.add(node)
                case Revive():
                    dead.clear()
                case QuantumFault(one, _, _):
                    assert one not in dead, f"seed {seed}: {step}"
                case KmeLies(node, _):
                    assert node not in dead, f"seed {seed}: {step}"
                case _:
                    pass
