"""What the scenario of a KME that lies takes for a breach: each is found, in runs as they might have been."""

from collections.abc import Sequence

import pytest

from qkms_chaos.checking.history import Op, Outcome
from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.faults.schedule import AskRoot, HonestKmes, KmeLies
from qkms_chaos.scenarios.command import SCENARIOS
from qkms_chaos.scenarios.scenario import Scenario
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.root_steps import ABORTED, ACTIVATED, REJECTED, RootStep

SEEN_THROUGH = (RootStep(2.0, REJECTED, 2), RootStep(2.1, ABORTED, 2), RootStep(3.0, ACTIVATED, 3))


def breaches(
    steps: Sequence[RootStep] = SEEN_THROUGH, written_at: float = 4.0, routes_lost: int = 0, without_qkd: str = ""
) -> list[str]:
    """Of a run in which node-1 is lied to from 1 s to 9 s."""
    happened = [(1.0, KmeLies("node-1", {"wrong_key": True})), (1.5, AskRoot()), (9.0, HonestKmes())]
    write = Op("c1", "rotate", "k", written_at, written_at + 0.1, Outcome.OK)
    run = FaultedRun(
        ops=[write],
        happened=[Happened(at, at + 0.1, str(fault)) for at, fault in happened],
        healed=10.0,
        root_steps=list(steps),
        routes_lost=routes_lost,
        without_qkd=without_qkd,
    )
    scenario = SCENARIOS["kme-lies"]
    assert isinstance(scenario, Scenario)
    return scenario.look(run).breaches


def test_a_lie_that_was_seen_through_is_no_breach() -> None:
    assert breaches() == []


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (
            {"steps": (RootStep(2.0, REJECTED, 2), RootStep(3.0, ACTIVATED, 2))},
            "root epoch 2 came into use although",
        ),
        ({"steps": SEEN_THROUGH[:2]}, "no root epoch came within"),
        ({"written_at": 9.5}, "no write was acknowledged while the KME of node-1 lies"),
        ({"routes_lost": 90}, "lost each other 90 times"),
        ({"without_qkd": "waited 60 s for root epoch 1"}, "every KME is honest, and waited 60 s"),
    ],
    ids=["accepted", "none came", "no write", "apart", "no QKD"],
)
def test_each_breach_is_found(run: dict[str, object], said: str) -> None:
    [breach] = breaches(**run)  # type: ignore[arg-type]
    assert said in breach
