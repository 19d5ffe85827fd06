"""The schedule of killings: who dies, never too many at once, and everybody lives again."""

import pytest

from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.faults.schedule import FOLLOWER, LEADER, AskRoot, Kill, KillKme, Revive
from qkms_chaos.workload.killings import killed, killings

NODES = ("node-1", "node-2", "node-3")


@pytest.mark.parametrize("seed", range(20))
def test_in_each_turn_one_node_and_some_kmes_die_amid_the_seeding_of_a_root(seed: int) -> None:
    turns = killings(seed, NODES, 60.0)
    assert turns == killings(seed, NODES, 60.0)
    assert len(turns) == 10
    for steps in turns:
        faults = [step.fault for step in steps]
        assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
        assert steps[0].at_s >= 3.0, "everybody lives at first"
        assert (faults[0], faults[-1]) == (AskRoot(), Revive())
        assert faults.count(AskRoot()) == 2
        assert sum(isinstance(fault, Kill) for fault in faults) == 1, "a majority is left"
        kmes = [fault.node for fault in faults if isinstance(fault, KillKme)]
        assert 1 <= len(set(kmes)) == len(kmes)
    every = [step.fault for steps in turns for step in steps]
    assert every.count(Kill(LEADER)) == every.count(Kill(FOLLOWER)) == 5
    assert {fault.node for fault in every if isinstance(fault, KillKme)} == set(NODES)


def test_a_short_load_has_one_turn() -> None:
    [steps] = killings(1, NODES, 2.0)
    assert Kill(LEADER) in [step.fault for step in steps]
    assert steps[-1].at_s <= 2.0


def test_who_was_killed_is_told_by_what_was_done() -> None:
    done = [Kill("node-2"), KillKme("node-1"), AskRoot(), Revive()]
    happened = [Happened(1.0, 1.1, str(fault)) for fault in done]
    happened.append(Happened(2.0, 2.1, str(Kill("node-3")), "it could not be"))
    assert killed(happened) == ["node-2", "the KME of node-1"]
