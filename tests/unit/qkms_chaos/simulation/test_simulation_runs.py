"""Short runs of the simulation over the real engine: nothing that must hold is broken."""

import pytest

from qkms_chaos.simulation.run import Task, run


@pytest.mark.parametrize("profile", ["kill", "partitions"])
def test_a_seed_runs_without_a_breach(profile: str) -> None:
    outcome = run(Task(profile, 3, 1))
    assert outcome.violation is None
    assert outcome.acknowledged > 20


def test_a_seed_replays_exactly() -> None:
    first, second = (run(Task("mixed", 3, 7), trace=True) for _ in range(2))
    assert first.said == second.said
    assert first.said
