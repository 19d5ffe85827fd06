"""A load under a schedule of faults: clients and nemesis side by side, then healing, and last looks at every node.

Ordering: keys are made before the first fault; every fault is ended before the last looks; those are operations
of the history like all others, so that what the cluster says at the end is checked as well.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qkms_chaos.checking.history import Op, Recorder
from qkms_chaos.cluster.waits import WaitExpired
from qkms_chaos.cluster.world import World, world_of
from qkms_chaos.faults.nemesis import Happened, Nemesis
from qkms_chaos.faults.schedule import Step
from qkms_chaos.workload.clients import create_keys, last_looks, run_clients, watchers_of
from qkms_chaos.workload.load import Load
from qkms_chaos.workload.records import read_records
from qkms_chaos.workload.root_steps import RootStep, root_steps
from qkms_chaos.workload.watching import Watcher, begin_all, finish_all
from qkms_client import load_profile
from qkms_client.types import Grade, NodeStatus

Told = Callable[[str], None]
HEAL_TIMEOUT_S = 60.0
LAST_KEY = "last"
"""Made after the load, so that watches have something to come to."""
LOST = '"event": "consensus.disconnected"'


@dataclass
class FaultedRun:
    """What happened: operations, faults, and the end. Times of time.monotonic."""

    ops: list[Op] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    begun: float = 0.0
    healed: float = 0.0
    agreed: float = 0.0
    ended: float = 0.0
    statuses: dict[str, NodeStatus] = field(default_factory=dict)
    disagreement: str = ""
    """Why the healed nodes came to no common state; empty: they did."""
    root_steps: list[RootStep] = field(default_factory=list)
    """Of a run that follows the root, as is what comes after."""
    routes_lost: int = 0
    """How often nodes lost the connection to another during the load, by their logs."""
    without_qkd: str = ""
    """Why the root has no QKD in the end; empty: it has."""


def run_faulted(
    world: World,
    nemesis: Nemesis,
    steps: Sequence[Step],
    seconds: float,
    load: Load,
    recorder: Recorder,
    told: Told,
    follow_root: bool = False,
) -> FaultedRun:
    """Raises ProcessDied, QkmsError; WaitExpired when a node does not come up again.

    `follow_root`: waits, in the end, for a root with QKD at every node, and keeps what became of the root and of
    the routes between nodes, which need keys of KMEs as well.
    """
    run = FaultedRun()
    profile = load_profile(world.cluster.layout.service_profile("payments"))
    asyncio.run(create_keys(profile, load, recorder))
    watchers = watchers_of(profile, load, recorder)
    lost_before = _routes_lost(world) if follow_root else 0
    run.begun = time.monotonic()
    told(f"{load.roaming} clients of the cluster and {load.bound} of each node, for {seconds:g} s")
    failure: list[BaseException] = []

    def disturb() -> None:
        try:
            nemesis.run(steps)
        except BaseException as error:
            failure.append(error)

    faults = threading.Thread(target=disturb, name="nemesis", daemon=True)
    faults.start()
    try:
        asyncio.run(run_clients(profile, load, watchers, recorder, seconds))
    finally:
        nemesis.stop()
        faults.join()
    if failure:
        raise failure[0]
    nemesis.heal()
    run.healed = time.monotonic()
    # Who joined meanwhile is asked as well, and who was taken out is not.
    with world_of(world.cluster) as now:
        run.disagreement = now.observer.disagreement(HEAL_TIMEOUT_S)
        run.agreed = time.monotonic()
        if follow_root:
            _follow_the_root(now, run)
            run.routes_lost = _routes_lost(world) - lost_before
        at = {node: world.cluster.network.rpc(node) for node in now.observer.nodes}
        asyncio.run(last_looks(replace(profile, endpoints=at), load, recorder))
        if not run.disagreement:
            _read_the_records(now, at, watchers, recorder)
        run.statuses = now.observer.statuses()
    run.ended = time.monotonic()
    run.ops, run.happened = recorder.ops, nemesis.happened
    return run


def _follow_the_root(world: World, run: FaultedRun) -> None:
    try:
        world.observer.wait_root(1, Grade.QKD_PQC, timeout_s=HEAL_TIMEOUT_S)
    except WaitExpired as error:
        run.without_qkd = str(error)
    run.root_steps = root_steps(world)


def _read_the_records(
    world: World, at: Mapping[str, str], watchers: Sequence[Watcher], recorder: Recorder
) -> None:
    """What watches tell to the end, the audit of each node, and who each says takes part."""
    asyncio.run(begin_all(watchers, at))
    world.payments.create_key(LAST_KEY)
    asyncio.run(finish_all(watchers, LAST_KEY))
    world.observer.wait_agreement()
    read_records(world.operator, list(at), recorder)


def _routes_lost(world: World) -> int:
    layout = world.cluster.layout
    return sum(layout.log(node).read_text().count(LOST) for node in world.nodes)
