"""Scenarios of the network: partitions of every shape, lost replies, slow links."""

import random
from itertools import pairwise

from qkms_chaos.checking.history import Outcome
from qkms_chaos.faults.schedule import (
    FOLLOWER,
    LEADER,
    AnyFault,
    Halves,
    HealNetwork,
    Isolate,
    Limit,
    LoseReplies,
    OneWay,
    Step,
)
from qkms_chaos.scenarios.phases import ALONE
from qkms_chaos.scenarios.scenario import NODES, Finding, Plan, Scenario, during
from qkms_chaos.workload.clients import TIMEOUT_S
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.load import Load

WRITES = frozenset({"rotate", "disable", "enable"})
ANSWERED_S = TIMEOUT_S + 1.0
"""Within this a client hears something, its own time limit and what a busy machine takes included."""
WRITABLE_S = 2.0
LONG_REIGN = {"leader_fallback_ms": 3_000}
"""A leader that is cut off takes itself for one for so long: what it may do meanwhile is what is tried."""
LEARNS_S = 1.0
"""A leader that was cut off has stepped down by then."""


def turns(rng: random.Random, seconds: float, lasts: tuple[float, float], *faults: AnyFault) -> list[Step]:
    """Each fault in turn, mended after a time between `lasts`, until the seconds are over."""
    steps, at, number = [], 2.0, 0
    while at + lasts[1] < seconds - 1.0:
        length = rng.uniform(*lasts)
        steps.append(Step(round(at, 2), faults[number % len(faults)]))
        steps.append(Step(round(at + length, 2), HealNetwork()))
        at += length + rng.uniform(1.0, 2.5)
        number += 1
    return steps


def _split(rng: random.Random, seconds: float) -> Plan:
    sides = [Halves((node,)) for node in rng.sample(NODES, 3)]
    return Plan(turns(rng, seconds, (3.0, 6.0), Isolate(LEADER), *sides), overrides={"node": {"raft": LONG_REIGN}})


def _minority_writes_nothing(run: FaultedRun) -> Finding:
    """No write is acknowledged at a node that is alone, and the others accept writes soon."""
    breaches: list[str] = []
    waits: list[float] = []
    for fault, after in pairwise([*run.happened, None]):
        alone = ALONE.match(fault.text) if fault is not None and not fault.problem else None
        if fault is None or alone is None:
            continue
        node, begin = alone["node"], fault.end
        end = after.begin if after is not None else run.healed
        writes = [op for op in run.ops if op.call in WRITES and op.start >= begin and op.end and op.end <= end]
        bound = [op for op in writes if op.process.endswith(f"@{node}") and op.start > begin + LEARNS_S]
        breaches += [f"{node} was alone and acknowledged: {op}" for op in bound if op.outcome is Outcome.OK]
        accepted = [op.end for op in writes if op.outcome is Outcome.OK and op.end is not None]
        if accepted:
            waits.append(min(accepted) - begin)
        if end - begin > WRITABLE_S and (not accepted or min(accepted) - begin > WRITABLE_S):
            breaches.append(f"no write was accepted within {WRITABLE_S:g} s of: {fault.text}")
    figures = {"partitions": len(waits), "first write after, s": [round(wait, 2) for wait in waits]}
    return Finding(breaches, figures)


def _minority_reads(rng: random.Random, seconds: float) -> Plan:
    soon = {"node": {"raft": {"barrier_timeout_ms": 300, **LONG_REIGN}}}
    steps = turns(rng, seconds, (5.0, 7.0), Isolate(LEADER), *(Isolate(node) for node in rng.sample(NODES, 2)))
    return Plan(steps, Load(bound=4), overrides=soon)


def _labelled(run: FaultedRun) -> Finding:
    """At a lone node: linearizable reads refused in time, bounded ones once too old, stale ones served."""
    breaches: list[str] = []
    counts = {"refused linearizable": 0, "refused bounded": 0, "served stale": 0}
    for op in during(run, run.ops, "is cut off", margin_s=LEARNS_S):
        fault = max((f for f in run.happened if f.begin <= op.start), key=lambda f: f.begin)
        if op.call != "get" or not op.process.endswith(f"@{fault.text.split()[0]}"):
            continue
        level = str(op.args.get("level"))
        if level == "stale_ok":
            counts["served stale"] += op.outcome is Outcome.OK
            if op.outcome is not Outcome.OK:
                breaches.append(f"a read that takes any state was not served: {op}")
            elif op.answer.get("staleness_ms") is None:
                breaches.append(f"a stale answer does not say how old it may be: {op}")
            continue
        old = level == "linearizable" or op.start > fault.end + LEARNS_S + 1.0
        if op.outcome is Outcome.OK and old:
            breaches.append(f"alone, and answered a {level} read: {op}")
        elif op.end is not None and op.end - op.start > ANSWERED_S:
            breaches.append(f"not refused in time: {op}")
        if op.outcome is Outcome.REFUSED:
            counts[f"refused {level}"] += 1
    return Finding(breaches, counts)


def _lost_replies(rng: random.Random, seconds: float) -> Plan:
    steps = turns(rng, seconds, (1.0, 2.0), *(LoseReplies(node) for node in (LEADER, *rng.sample(NODES, 3))))
    return Plan(steps, Load(keys=("chaos-1",), roaming=8, bound=1, rotate=40))


def _one_way(rng: random.Random, seconds: float) -> Plan:
    return Plan(turns(rng, seconds, (2.0, 5.0), OneWay(LEADER), OneWay(FOLLOWER)))


def _flapping(rng: random.Random, seconds: float) -> Plan:
    return Plan(turns(rng, seconds, (0.2, 0.8), Isolate(LEADER), Isolate(rng.choice(NODES))))


def _backlog(rng: random.Random, seconds: float) -> Plan:
    slow = rng.choice(NODES)
    steps = [Step(1.0, Limit(slow, 8)), Step(round(seconds - 4.0, 2), HealNetwork())]
    few = {"node": {"raft": {"snapshot_after_entries": 200, "keep_entries": 50}}}
    return Plan(steps, Load(rotate=40), overrides=few)


def _staging(rng: random.Random, seconds: float) -> Plan:
    keys = Load().keys
    steps = turns(rng, seconds, (2.0, 4.0), *(Isolate(node) for node in (LEADER, *rng.sample(NODES, 3))))
    return Plan(
        steps, Load(keys=(*keys, "chaos-staged-1", "chaos-staged-2"), staged=("chaos-staged-1", "chaos-staged-2"))
    )


def _staged_and_activated(run: FaultedRun) -> Finding:
    """Nothing beyond what holds of every run; how much was tried."""
    activations = [op for op in run.ops if op.call == "activate"]
    counts = {
        "versions staged": sum(op.call == "stage" and op.outcome is Outcome.OK for op in run.ops),
        "activated": sum(op.outcome is Outcome.OK for op in activations),
        "refused for want of validation": sum(op.reason == "VERSION_NOT_VALIDATED" for op in activations),
    }
    return Finding([], counts)


def _deposed(rng: random.Random, seconds: float) -> Plan:
    few = {"node": {"raft": {"snapshot_after_entries": 60, "keep_entries": 5, **LONG_REIGN}}}
    return Plan(turns(rng, seconds, (4.0, 7.0), Isolate(LEADER)), Load(rotate=40), overrides=few)


SCENARIOS = {
    "split-brain-writes": Scenario(
        "With the network in two, only the side of the majority acknowledges writes, within two seconds, "
        "and nothing acknowledged is lost.",
        _split,
        _minority_writes_nothing,
        30.0,
    ),
    "minority-reads": Scenario(
        "A node that is alone refuses linearizable reads in bounded time and bounded ones once its state is "
        "too old, and says of a stale answer that it is one.",
        _minority_reads,
        _labelled,
        30.0,
    ),
    "rotate-lost-reply": Scenario(
        "A rotation whose reply is lost takes effect once, however often it is repeated.", _lost_replies
    ),
    "one-way-cut": Scenario(
        "A node that is not heard, leader or not, does not stop the others, nor acknowledges what they lack.",
        _one_way,
        _minority_writes_nothing,
        25.0,
    ),
    "flapping-link": Scenario(
        "A link that comes and goes loses no acknowledged write and leaves the nodes of one mind.", _flapping
    ),
    "slow-follower-backlog": Scenario(
        "A follower behind a slow line does not hold the others up, and catches up once the line is good.",
        _backlog,
    ),
    "staging-under-partition": Scenario(
        "A staged version is used nowhere before a quorum has opened it, somebody has validated it, and it is "
        "activated; whichever node is cut off.",
        _staging,
        _staged_and_activated,
        30.0,
    ),
    "deposed-leader-snapshot": Scenario(
        "A leader that was cut off while the others compacted their log takes over their state, and what it "
        "acknowledged to nobody is gone.",
        _deposed,
        _minority_writes_nothing,
        25.0,
    ),
}
