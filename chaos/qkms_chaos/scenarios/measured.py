"""Scenarios with a load of their own, which measure what the general load cannot: see `workload`."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from qkms_chaos.checking.history import Recorder
from qkms_chaos.checking.judgement import Judgement
from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.world import World, world_of
from qkms_chaos.faults.nemesis import Nemesis
from qkms_chaos.faults.opening import NETWORKS
from qkms_chaos.scenarios.report import REPORT, replay_command, report
from qkms_chaos.scenarios.saved import HISTORY
from qkms_chaos.scenarios.secrecy import plant, with_secrecy
from qkms_chaos.scenarios.verdict import PROMISE, Verdict, carried_out, judged_history, outcomes, whole_audits
from qkms_chaos.workload.backlog import backlog_trials
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.killings import killed, killings
from qkms_chaos.workload.northbound import northbound_once
from qkms_chaos.workload.revocation import revocation_under_partition
from qkms_chaos.workload.rotation import CLIENTS, LOAD, rotation_under_load

MAX_STALENESS_S = 3.0
KEYS_PER_S = 10_000 / 60
"""For the default length, so that a run of it has 10,000 keys however slow the machine."""
TRIAL_S = 10.0
"""So many seconds of a run's length are one trial with a backlog, however long that takes."""
Told = Callable[[str], None]


@dataclass(frozen=True)
class Ground:
    """What a run is made on. `seconds`: its length. `told` hears what is done."""

    world: World
    nemesis: Nemesis
    recorder: Recorder
    seconds: float
    seed: int
    told: Told


@dataclass(frozen=True)
class Measured:
    """A promise, and the run that tries to break it."""

    promise: str
    run: Callable[[Ground], tuple[FaultedRun, Verdict]]
    seconds: float = 60.0


def run_measured(folder: Path, name: str, seed: int, seconds: float, network: str, told: Told) -> Verdict:
    """Runs it on a fresh cluster in `folder`, and leaves a report. Raises Unsupported, and what the run raises."""
    scenario = SCENARIOS[name]
    layout, since_s = open_layout(folder / "cluster"), time.time()
    with NETWORKS[network](layout) as net, Cluster(layout, net) as cluster:
        cluster.start(told)
        with world_of(cluster) as world:
            world.observer.wait_root(1)
            planted = plant(folder, layout, world)
            nemesis = Nemesis(world, net, told, seed=seed)
            with Recorder(folder / HISTORY) as recorder:
                run, verdict = scenario.run(Ground(world, nemesis, recorder, seconds, seed, told))
    verdict = with_secrecy(verdict, folder, planted, layout.nodes, since_s)
    (folder / REPORT).write_text(
        report(name, scenario.promise, replay_command(name, seed, seconds, network), run, verdict)
    )
    return verdict


def _rotation(on: Ground) -> tuple[FaultedRun, Verdict]:
    run = asyncio.run(rotation_under_load(on.world, on.nemesis, on.recorder, on.seconds, on.told, on.seed))
    on.told(f"judging {len(run.ops):,} operations")
    figures: dict[str, object] = {
        "clients": CLIENTS,
        "seconds": on.seconds,
        "rotations": run.rotations,
        "root epochs": run.epochs,
        "restarted": run.restarted,
        "ciphertexts": len(run.sealed),
    }
    happened, bound_s = on.nemesis.happened, LOAD.max_staleness.total_seconds()
    found = judged_history(run.breaches(), happened, run.disagreement, run.ops, bound_s, on.world)
    return _course(on, run.begun, run.agreed), Verdict(found, figures | outcomes(run.ops))


def _revocation(on: Ground) -> tuple[FaultedRun, Verdict]:
    run = asyncio.run(
        revocation_under_partition(on.world, on.nemesis, on.recorder, MAX_STALENESS_S, on.told, on.seed)
    )
    figures: dict[str, object] = {
        "cut off": run.cut_off,
        "max_staleness_s": run.max_staleness_s,
        "last use after the revocation, s": round(run.last_use_s, 3),
        "refused with": run.refused_with,
        "after healing": run.after_healing,
    }
    happened, bound_s = on.nemesis.happened, run.max_staleness_s
    found = judged_history(run.breaches(), happened, run.disagreement, run.ops, bound_s, on.world)
    return _course(on, run.begun, run.agreed), Verdict(found, figures | outcomes(run.ops))


def _northbound(on: Ground) -> tuple[FaultedRun, Verdict]:
    turns, least = killings(on.seed, on.world.nodes, on.seconds), round(on.seconds * KEYS_PER_S)
    run = asyncio.run(
        northbound_once(on.world, on.nemesis, on.recorder, turns, on.seconds, least, on.told, on.seed)
    )
    figures: dict[str, object] = {
        "seconds": on.seconds,
        "keys drawn": len(run.given("draw")),
        "keys collected": len(run.given("collect")),
        "keys reported as perhaps consumed": len(run.reported),
        "killed, times": dict(sorted(Counter(killed(run.happened)).items())),
        "root epochs that came into use": len(run.epochs),
    }
    counts = Counter(f"{one.kind} {one.status}{' ' + one.said if one.said else ''}" for one in run.attempts)
    found = [Judgement(PROMISE, run.breaches()), carried_out(run.happened), whole_audits(on.world)]
    course = _course(on, run.begun, run.agreed)
    return course, Verdict(found, figures | dict(sorted(counts.items())))


def _backlog(on: Ground) -> tuple[FaultedRun, Verdict]:
    run = backlog_trials(on.world, on.nemesis, on.recorder, max(2, round(on.seconds / TRIAL_S)), on.told)
    trials = run.trials
    waits = {
        part: [one.first_write_s for one in trials if one.part == part] for part in ("the leader", "a follower")
    }
    figures: dict[str, object] = {
        "trials": len(trials),
        "backlog, bytes at least": min(one.backlog_bytes for one in trials),
        **{f"first write after the cut of {part}, s": spread(times) for part, times in waits.items()},
        "first write after the cut, s": spread([one.first_write_s for one in trials]),
        "one state after healing, s": spread([one.caught_up_s for one in trials]),
    }
    promise = Judgement(PROMISE, [breach for one in trials for breach in one.breaches()])
    return _course(on, run.begun, run.ended), Verdict([promise, carried_out(on.nemesis.happened)], figures)


def _course(on: Ground, begun: float, agreed: float) -> FaultedRun:
    """For the report; whatever is done after the nodes agreed ends now."""
    return FaultedRun(on.recorder.ops, on.nemesis.happened, begun, agreed, agreed, time.monotonic())


def spread(times: Sequence[float | None]) -> str:
    """Median, 95th percentile and greatest, in seconds; None counts as endless."""
    found = sorted(inf if one is None else one for one in times)
    if not found:
        return "none"
    middle, late = found[len(found) // 2], found[min(len(found) - 1, int(0.95 * len(found)))]
    return f"p50 {middle:.2f}, p95 {late:.2f}, max {found[-1]:.2f}"


SCENARIOS = {
    "rotation-under-load": Measured(
        "While keys rotate, root epochs change and a node restarts, no decrypt fails "
        "and no staged or destroyed version is used.",
        _rotation,
    ),
    "revocation-under-partition": Measured(
        "Once its key's max_staleness has passed, a revoked version is used nowhere, "
        "also at a node that is cut off.",
        _revocation,
    ),
    "backlog-catch-up": Measured(
        "Whichever node is cut off, writes are accepted within 2 s, and with a backlog of 10 MB every node has "
        "caught up within 5 s of healing.",
        _backlog,
        2 * TRIAL_S,
    ),
    "northbound-once": Measured(
        "While nodes and KMEs are killed and root epochs change, no encryptor is given a key_ID twice, both ends "
        "have equal keys, and none is missing but where an answer was lost.",
        _northbound,
    ),
}
