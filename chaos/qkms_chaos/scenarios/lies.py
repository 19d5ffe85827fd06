"""The scenario of a KME that lies: its keys differ from those of the other end, it has none, it is late, its clock
is wrong, or it gives the same keys again.

While the lie is told keys are needed: the root is asked for, and the keys of the traffic between nodes are
replaced every second. Keys are given again by all KMEs at once, or the other end would not have them any more, and
the root is asked for twice.
"""

import random
from collections import Counter

from qkms_chaos.checking.history import CHANGES, Outcome
from qkms_chaos.faults.schedule import FOLLOWER, LEADER, LIES, AskRoot, HonestKmes, KmeLies, Step
from qkms_chaos.scenarios.scenario import NODES, Finding, Plan, Scenario
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.root_steps import ABORTED, ACTIVATED, FELL_BACK, REJECTED, REPLACED, RESUMED, RootStep

WRONG_S, OTHER_S = 4.0, 4.0
"""How long wrong keys are given; how long a turn of any other lie is at least."""
AGAIN_S = 1.5
"""After which the root is asked for again, the first one being in use."""
WRITABLE_S = 2.0
GOES_ON_S = 10.0
"""From a request for a root to an epoch: several attempts with QKD, and the fall-back."""
ROUTES_LOST = 10
"""No fault touches the network; a busy machine may break a connection between two nodes now and then."""
SOON = {
    "node": {
        "raft": {"link_rekey_ms": 1_000},
        "qkd": {"poll_ms": 300, "timeout_ms": 500},
        "root": {"policy": "prefer_qkd", "retry_ms": 200, "fallback_after_ms": 600, "resume_after_ms": 300},
    }
}


def _plan(rng: random.Random, seconds: float) -> Plan:
    """Wrong keys, and then as many of the other lies in turn as there is time for; between them all are honest."""
    wrong, *others = LIES
    rest = seconds - WRONG_S - 2.0
    steps = [
        Step(1.0, KmeLies(FOLLOWER, dict(wrong))),
        Step(1.1, AskRoot()),
        Step(1.0 + WRONG_S, HonestKmes()),
    ]
    fitting = others[: int(rest / OTHER_S)]
    for number, lie in enumerate(fitting):
        turn = rest / len(fitting)
        at = WRONG_S + 2.0 + number * turn
        liars = NODES if "redeliver" in lie else (LEADER if "exhausted" in lie else rng.choice(NODES),)
        asked = (0.1, 0.1 + AGAIN_S) if "redeliver" in lie else (0.1,)
        steps += [
            *(Step(round(at, 2), KmeLies(node, dict(lie))) for node in liars),
            *(Step(round(at + later, 2), AskRoot()) for later in asked),
            Step(round(at + 0.7 * turn, 2), HonestKmes()),
        ]
    return Plan(steps, overrides=SOON, follow_root=True)


def _honest_root(run: FaultedRun) -> Finding:
    """No epoch over a rejected share; each that was asked for came; writes went on, routes held; QKD is back."""
    breaches = [*_over_rejections(run.root_steps), *_not_come(run), *_without_writes(run)]
    if run.without_qkd:
        breaches.append(f"every KME is honest, and {run.without_qkd}")
    if run.routes_lost > ROUTES_LOST:
        breaches.append(f"the nodes lost each other {run.routes_lost} times, and no fault touched their network")
    counts = Counter(step.what for step in run.root_steps)
    figures = {
        "root epochs in use": counts[ACTIVATED],
        "root epochs given up": counts[ABORTED],
        "shares rejected": counts[REJECTED],
        "shares given again": counts[REPLACED],
        "routes between nodes lost": run.routes_lost,
        "times QKD was given up": counts[FELL_BACK],
        "times QKD was taken up again": counts[RESUMED],
    }
    return Finding(breaches, figures)


def _over_rejections(steps: list[RootStep]) -> list[str]:
    rejected: set[int] = set()
    found = []
    for step in steps:
        if step.what == REJECTED:
            rejected.add(step.epoch)
        elif step.what == ACTIVATED and step.epoch in rejected:
            found.append(f"root epoch {step.epoch} came into use although a node had rejected its share")
    return found


def _not_come(run: FaultedRun) -> list[str]:
    come = [step.at for step in run.root_steps if step.what == ACTIVATED]
    asked = [one for one in run.happened if one.text == str(AskRoot()) and not one.problem]
    return [
        f"no root epoch came within {GOES_ON_S:g} s of the request at {one.begin - run.begun:.2f} s"
        for one in asked
        if not any(one.begin <= at <= one.end + GOES_ON_S for at in come)
    ]


def _without_writes(run: FaultedRun) -> list[str]:
    """The lies, if they lasted for long enough, during which no write was acknowledged."""
    written = [op for op in run.ops if op.call in CHANGES and op.outcome is Outcome.OK and op.end is not None]
    ends = [one.begin for one in run.happened if one.text == str(HonestKmes())]
    found = []
    for lie in (one for one in run.happened if " lies: " in one.text):
        end = min((at for at in ends if at > lie.end), default=run.healed)
        if end - lie.end > WRITABLE_S and not any(
            op.start >= lie.end and op.end is not None and op.end <= end for op in written
        ):
            found.append(f"no write was acknowledged while {lie.text}")
    return found


SCENARIOS = {
    "kme-lies": Scenario(
        "A KME that lies - wrong keys, none, late ones, the same ones again, a wrong clock - brings no root epoch "
        "into use whose keys differ at two ends or seeded another; the cluster goes on by its policy, loses "
        "nothing that it acknowledged, and takes up QKD again when the KME is honest.",
        _plan,
        _honest_root,
        seconds=40.0,
    ),
}
