"""The schedule of killings: who dies, never too many at once, and everybody lives again."""

import pytest

from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.faults.schedule import FOLLOWER, LEADER, AskRoot, Kill, KillKme, Revive
from qkms_chaos.workload.killings import killed, killings

NODES = ("node-1", "node-2", "node-3")


@pytest.mark.parametrize("seed", range(20))
def test_one_node_at_a_time_and_kmes_die_amid_the_seeding_of_a_root(seed: int) -> None:
    steps = killings(seed, NODES, 60.0)
    assert steps == killings(seed, NODES, 60.0) == sorted(steps, key=lambda step: step.at_s)
    down: list[str] = []
    kmes: set[str] = set()
    asked = False
    for step in steps:
        match step.fault:
            case Revive():
                assert len(down) == 1
                assert kmes
                down, kmes, asked = [], set(), False
            case AskRoot():
                asked = True
            case KillKme(node):
                assert asked, "its keys are needed when it dies"
                assert node not in kmes
                kmes.add(node)
            case Kill(node):
                down.append(node)
    assert down == []
    assert kmes == set()
    assert {step.fault.node for step in steps if isinstance(step.fault, Kill)} == {LEADER, FOLLOWER}
    assert {step.fault.node for step in steps if isinstance(step.fault, KillKme)} == set(NODES)


def test_a_short_load_has_one_turn() -> None:
    faults = [step.fault for step in killings(1, NODES, 2.0)]
    assert faults.count(Kill(LEADER)) == faults.count(Revive()) == 1
    assert any(isinstance(fault, KillKme) for fault in faults)


def test_who_was_killed_is_told_by_what_was_done() -> None:
    done = [Kill("node-2"), KillKme("node-1"), AskRoot(), Revive()]
    happened = [Happened(1.0, 1.1, str(fault)) for fault in done]
    happened.append(Happened(2.0, 2.1, str(Kill("node-3")), "it could not be"))
    assert killed(happened) == ["node-2", "the KME of node-1"]
