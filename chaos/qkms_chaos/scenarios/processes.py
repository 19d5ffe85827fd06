"""Scenarios of processes, disks, clocks, certificates and members."""

import random
from collections.abc import Callable

from qkms_chaos.faults.schedule import (
    FOLLOWER,
    LEADER,
    MAKERS,
    Add,
    Clock,
    Disk,
    Kill,
    KillAll,
    Pause,
    Remove,
    Reset,
    Revive,
    Step,
    random_schedule,
)
from qkms_chaos.scenarios.scenario import NODES, Finding, Plan, Scenario
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.load import Load


def _killed_leader(rng: random.Random, seconds: float) -> Plan:
    steps, at = [], 2.0
    while at < seconds - 6.0:
        steps += [Step(round(at, 2), Kill(LEADER)), Step(round(at + rng.uniform(0.5, 2.0), 2), Revive())]
        at += rng.uniform(5.0, 7.0)
    return Plan(steps, Load(rotate=60))


def _kill_all(rng: random.Random, seconds: float) -> Plan:
    few = {"node": {"raft": {"snapshot_after_entries": 300, "keep_entries": 50}}}
    steps = [
        Step(round(seconds * 0.3, 2), KillAll()),
        Step(round(seconds * 0.3 + 0.5, 2), Revive()),
        Step(round(seconds * 0.7, 2), KillAll()),
        Step(round(seconds * 0.7 + rng.uniform(0.1, 1.0), 2), Revive()),
    ]
    return Plan(steps, Load(rotate=40), overrides=few)


def _disk(rule: str) -> Callable[[random.Random, float], Plan]:
    def plan(rng: random.Random, seconds: float) -> Plan:
        node = rng.choice(NODES)
        steps = [
            Step(2.0, Disk(node, (rule,))),
            Step(round(seconds * 0.5, 2), Disk(node)),
            Step(round(seconds * 0.5 + 0.1, 2), Revive()),
        ]
        return Plan(steps, Load(rotate=40), disks=(node,))

    return plan


def _stopped(run: FaultedRun) -> Finding:
    """The node whose disk failed had stopped by the time that the disk was sound again."""
    failed = [
        f.text.split()[3].rstrip(":") for f in run.happened if "the disk of" in f.text and "sound" not in f.text
    ]
    again = " ".join(f.text for f in run.happened if "started again" in f.text)
    return Finding([f"{node} went on although its disk failed" for node in failed if node not in again])


def _clock(rng: random.Random, seconds: float) -> Plan:
    steps, at = [], 2.0
    while at < seconds - 3.0:
        node, offset = rng.choice(NODES), rng.choice((-3600.0, -30.0, 30.0, 3600.0))
        steps += [Step(round(at, 2), Clock(node, offset)), Step(round(at + 2.0, 2), Clock(node, 0.0))]
        at += rng.uniform(3.0, 4.0)
    return Plan(steps, clocks=NODES)


def _certificates(rng: random.Random, seconds: float) -> Plan:
    # Every node has a certificate that ends during the run; connections made anew need the renewed one.
    steps = [Step(round(at, 2), Reset()) for at in (seconds * 0.4, seconds * 0.6, seconds * 0.8)]
    return Plan(steps, short_certificates=True)


def _members(rng: random.Random, seconds: float) -> Plan:
    steps = [
        Step(2.0, Add("node-4")),
        Step(round(seconds * 0.4, 2), Pause(FOLLOWER)),
        Step(round(seconds * 0.4 + 1.5, 2), Revive()),
        Step(round(seconds * 0.6, 2), Remove(rng.choice(NODES[:2]))),
    ]
    return Plan(steps, spares=1)


def _mixed(rng: random.Random, seconds: float) -> Plan:
    steps = random_schedule(rng.randrange(1 << 32), NODES, seconds, list(MAKERS))
    return Plan(steps, Load(keys=tuple(f"chaos-{n}" for n in range(1, 6)), staged=("chaos-5",), watchers=3))


SCENARIOS = {
    "leader-killed-mid-rotation": Scenario(
        "The leader dies amid rotations: each takes effect once or not at all, and its caller is told which, "
        "or that nobody knows.",
        _killed_leader,
        seconds=25.0,
    ),
    "kill-all-restart": Scenario(
        "Every node is killed at once, twice: whatever was acknowledged is there when they are back.", _kill_all
    ),
    "disk-full": Scenario(
        "A node whose disk is full stops rather than lie, and takes part again once there is room.",
        _disk("write,allocate,truncate,create / 0 0 ENOSPC"),
        _stopped,
    ),
    "fsync-error": Scenario(
        "A node whose disk does not make durable stops rather than acknowledge, and comes back whole.",
        _disk("sync / 0 0 EIO"),
        _stopped,
    ),
    "clock-jump": Scenario(
        "Wall clocks that jump by a minute or an hour change no order, no staleness bound, no answer.", _clock
    ),
    "certificate-rotation": Scenario(
        "Certificates that end during the load are renewed and taken up, and no call is lost to them.",
        _certificates,
        seconds=25.0,
    ),
    "membership-under-load": Scenario(
        "A node joins and another is removed under load, and what is acknowledged stays.", _members, seconds=25.0
    ),
    "mixed": Scenario(
        "Everything at random: nothing of what always holds is broken.", _mixed, seconds=60.0, any_faults=True
    ),
}
