"""Runs a scenario on a fresh cluster: network, processes with their shims, load and faults, and the verdict.

What a run leaves is in its folder: schedule.json, history.jsonl, report.html, run.json, the logs of every process.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qkms_chaos.checking.history import Recorder
from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import Layout, open_layout
from qkms_chaos.cluster.world import world_of
from qkms_chaos.faults.faulty_clock import FaultyClock
from qkms_chaos.faults.faulty_disk import CompilerMissing, FaultyDisk, build_shim
from qkms_chaos.faults.nemesis import Nemesis
from qkms_chaos.faults.network import Unsupported
from qkms_chaos.faults.opening import NETWORKS, REFUSED
from qkms_chaos.faults.schedule import Step, encode
from qkms_chaos.scenarios.report import REPORT, replay_command, report
from qkms_chaos.scenarios.saved import HISTORY, record_of, save
from qkms_chaos.scenarios.scenario import NODES, Plan, Scenario
from qkms_chaos.scenarios.secrecy import plant, with_secrecy
from qkms_chaos.scenarios.verdict import Verdict, judged
from qkms_chaos.workload.canaries import exported
from qkms_chaos.workload.faulted import FaultedRun, run_faulted
from qkms_node.pki import Identity

SCHEDULE = "schedule.json"
CERTIFICATE_S = 16.0
Told = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is to be run. `steps`: instead of those of the scenario's plan, to replay a run."""

    name: str
    scenario: Scenario
    seed: int
    seconds: float
    network: str
    steps: Sequence[Step] | None = None


def plan_of(order: Order) -> Plan:
    """The plan of this order; the same each time."""
    plan = order.scenario.plan(random.Random(f"{order.name} {order.seed}"), order.seconds)  # noqa: S311
    if order.steps is not None:
        return replace(plan, steps=order.steps)
    refused = REFUSED[order.network] if order.scenario.any_faults else ()
    return replace(plan, steps=[step for step in plan.steps if not isinstance(step.fault, refused)])


def run_scenario(folder: Path, order: Order, told: Told) -> tuple[FaultedRun, Verdict]:
    """Runs it in a new `folder`. Raises Unsupported, what starting a cluster raises, WaitExpired, QkmsError."""
    plan, since_s = plan_of(order), time.time()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEDULE).write_bytes(encode(plan.steps))
    layout = open_layout(folder / "cluster", len(NODES), spares=plan.spares)
    disks = _disks(folder, layout, plan)
    clocks = {node: FaultyClock(folder / f"{node}.clock") for node in plan.clocks}
    with ExitStack() as stack:
        network = stack.enter_context(NETWORKS[order.network](layout))
        environment = {node: disk.environment for node, disk in disks.items()}
        environment |= {node: clock.environment for node, clock in clocks.items()}
        cluster = stack.enter_context(Cluster(layout, network, plan.overrides, environment))
        if plan.short_certificates:
            _shorten(cluster, network.host)
        cluster.start(told)
        recorder = stack.enter_context(Recorder(folder / HISTORY))
        world = stack.enter_context(world_of(cluster))
        world.observer.wait_root(1)
        planted = plant(folder, layout, world)
        setters = {node: clock.set for node, clock in clocks.items()}
        nemesis = Nemesis(world, network, told, disks, setters, order.seed, recorder)
        run = run_faulted(world, nemesis, plan.steps, order.seconds, plan.load, recorder, told, plan.follow_root)
        now = stack.enter_context(world_of(cluster))
        planted.canaries.secrets |= exported(now, plan.load.keys)
        verdict = judged(order.scenario, run, now)
    _report(folder, order, run, verdict)
    verdict = with_secrecy(verdict, folder, planted, layout.nodes, since_s)
    _report(folder, order, run, verdict)
    save(folder, record_of(order.name, order.seed, order.seconds, order.network, run, verdict))
    return run, verdict


def _report(folder: Path, order: Order, run: FaultedRun, verdict: Verdict) -> None:
    replay = replay_command(order.name, order.seed, order.seconds, order.network)
    (folder / REPORT).write_text(report(order.name, order.scenario.promise, replay, run, verdict))


def _disks(folder: Path, layout: Layout, plan: Plan) -> dict[str, FaultyDisk]:
    if not plan.disks:
        return {}
    try:
        shim = build_shim(folder)
    except CompilerMissing as error:
        raise Unsupported(str(error)) from error
    for node in plan.disks:
        layout.home(node).mkdir(parents=True, exist_ok=True, mode=0o700)
    return {node: FaultyDisk(shim, layout.home(node).absolute() / "data") for node in plan.disks}


def _shorten(cluster: Cluster, host: Callable[[str], str]) -> None:
    now = datetime.now(UTC)
    for node in cluster.nodes:
        cluster.authority.issue(
            Identity("node", node),
            not_before=now - timedelta(seconds=CERTIFICATE_S / 2),
            not_after=now + timedelta(seconds=CERTIFICATE_S),
            addresses=tuple(dict.fromkeys(("127.0.0.1", host(node)))),
        )
