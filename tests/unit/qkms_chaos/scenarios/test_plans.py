"""What the schedules of all scenarios have in common, whatever the seed."""

import random

import pytest

from qkms_chaos.faults.schedule import KillKme, KmeLies, QuantumFault, Revive, Slow, Step, decode, encode
from qkms_chaos.scenarios import lies, network, processes, quantum
from qkms_chaos.scenarios.running import Order, plan_of

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


def test_what_takes_any_faults_goes_without_those_that_a_network_cannot_make() -> None:
    def slow(name: str, network: str) -> int:
        order = Order(name, SCENARIOS[name], 2, 600.0, network)
        return sum(isinstance(step.fault, Slow) for step in plan_of(order).steps)

    assert slow("mixed", "toxiproxy") > 5
    assert slow("mixed", "netns") == 0
    steps = [Step(1.0, Slow(10, 0))]
    replayed = Order("mixed", SCENARIOS["mixed"], 2, 600.0, "netns", steps)
    assert plan_of(replayed).steps == steps, "who asks for a fault is told that it cannot be made"
