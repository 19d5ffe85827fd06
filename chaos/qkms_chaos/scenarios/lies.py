"""The scenario of a KME that lies: its keys differ from those of the other end, or it has none, or none in time, or
its clock is wrong.

The root is asked for while the lie is told, since only then are keys needed. A node whose KME gives wrong keys is
also killed and started again: it then agrees on keys for the traffic between nodes, too.
"""

import random
from collections import Counter

from qkms_chaos.checking.history import Outcome
from qkms_chaos.faults.schedule import LEADER, LIES, AskRoot, HonestKmes, Kill, KmeLies, Revive, Step
from qkms_chaos.scenarios.phases import WRITES
from qkms_chaos.scenarios.scenario import NODES, Finding, Plan, Scenario
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.root_steps import ABORTED, ACTIVATED, FELL_BACK, REJECTED, REPLACED, RESUMED, RootStep

GOES_ON_S = 10.0
"""From a request for a root to an epoch: several attempts with QKD, and the fall-back."""
SOON = {
    "node": {
        "qkd": {"poll_ms": 300, "timeout_ms": 500},
        "root": {"policy": "pqc_fallback", "retry_ms": 200, "fallback_after_ms": 600, "resume_after_ms": 300},
    }
}


def _plan(rng: random.Random, seconds: float) -> Plan:
    """Wrong keys, for the longest time, and then each other lie in turn; between them all are honest."""
    turn = (seconds - 1.0) / (len(LIES) + 1)
    wrong, *others = LIES
    node = rng.choice(NODES)
    steps = [
        Step(1.0, KmeLies(node, dict(wrong))),
        Step(1.1, Kill(node)),
        Step(1.2, Revive()),
        Step(1.3, AskRoot()),
        Step(round(1.0 + 1.5 * turn, 2), HonestKmes()),
    ]
    for number, lie in enumerate(others, start=2):
        at = 1.0 + number * turn
        node = LEADER if "exhausted" in lie else rng.choice(NODES)
        steps += [
            Step(round(at, 2), KmeLies(node, dict(lie))),
            Step(round(at + 0.1, 2), AskRoot()),
            Step(round(at + 0.7 * turn, 2), HonestKmes()),
        ]
    return Plan(steps, overrides=SOON, follow_root=True)


def _honest_root(run: FaultedRun) -> Finding:
    """No epoch over a rejected share; each that was asked for came; writes went on; QKD came back."""
    breaches = [*_over_rejections(run.root_steps), *_not_come(run), *_without_writes(run)]
    if run.without_qkd:
        breaches.append(f"every KME is honest, and {run.without_qkd}")
    counts = Counter(step.what for step in run.root_steps)
    figures = {
        "root epochs in use": counts[ACTIVATED],
        "root epochs given up": counts[ABORTED],
        "shares rejected": counts[REJECTED],
        "shares given again": counts[REPLACED],
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
    """The lies during which no write was acknowledged."""
    written = [op for op in run.ops if op.call in WRITES and op.outcome is Outcome.OK and op.end is not None]
    ends = [one.begin for one in run.happened if one.text == str(HonestKmes())]
    found = []
    for lie in (one for one in run.happened if " lies: " in one.text):
        end = min((at for at in ends if at > lie.end), default=run.healed)
        if not any(op.start >= lie.end and op.end is not None and op.end <= end for op in written):
            found.append(f"no write was acknowledged while {lie.text}")
    return found


SCENARIOS = {
    "kme-lies": Scenario(
        "A KME that lies - wrong keys, none, late ones, a wrong clock - brings no root epoch into use whose keys "
        "differ at two ends; the cluster goes on by its policy, loses nothing that it acknowledged, and takes up "
        "QKD again when the KME is honest.",
        _plan,
        _honest_root,
        seconds=40.0,
    ),
}
