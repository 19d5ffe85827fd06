"""One run: a seed, a profile, a number of nodes; faults under load, then healing, then what must follow."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from qkms_chaos.simulation.clients import Clients
from qkms_chaos.simulation.faults import HEALED_AT_S, PROFILES, Fault, Profile, plan_faults
from qkms_chaos.simulation.library import simulated
from qkms_chaos.simulation.mended import MendedNode
from qkms_chaos.simulation.nemesis import Nemesis
from qkms_chaos.simulation.oracles import Violation
from qkms_chaos.simulation.world import MakeNode, Said, World
from qkms_node.consensus.settings import Limits

CONVERGED_WITHIN_S = 6.0
WRITE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Task:
    """What is run. `only`: the episodes of the schedule that happen; `steps`: when to stop; None for all."""

    profile: str
    nodes: int
    seed: int
    only: tuple[int, ...] | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Outcome:
    """`healed_in_s`: simulated, from healing to convergence and a write at every node."""

    task: Task
    violation: Violation | None
    steps: int
    acknowledged: int
    barriers: int
    healed_in_s: float
    faults: list[Fault]
    said: list[Said]


@dataclass(frozen=True)
class Engine:
    """What runs on the nodes, and what must stand in for the real world around it."""

    make_node: MakeNode
    surroundings: Callable[[World], AbstractContextManager[None]]


REAL = Engine(MendedNode, simulated)


def run(
    task: Task,
    engine: Engine = REAL,
    profile: Profile | None = None,
    *,
    ignored: frozenset[str] = frozenset(),
    trace: bool = False,
) -> Outcome:
    """Runs to the end, or to the first breach of a rule not `ignored`; `profile` goes before the named one."""
    profile = profile or PROFILES[task.profile]
    names = tuple(f"node-{number}" for number in range(1, task.nodes + profile.spares + 1))
    founders = names[: task.nodes]
    seed = f"{task.profile} {task.nodes} {task.seed}"
    faults = [f for f in plan_faults(profile, names, seed) if task.only is None or f.episode in task.only]
    world = World(seed, names, founders, limits_of(profile), engine.make_node, trace=trace, ignored=ignored)
    world.last_step = task.steps
    clients, nemesis = Clients(world, profile.padding), Nemesis(world)
    with engine.surroundings(world):
        for node in world.nodes.values():
            node.start()
        clients.plan(0.3, HEALED_AT_S, profile.load)
        nemesis.plan(faults)
        world.run_until(HEALED_AT_S)
        nemesis.heal()
        healed_in_s = _converge(world, clients)
    return Outcome(
        task,
        world.oracles.violation,
        world.oracles.step,
        len(clients.acknowledged),
        clients.barriers,
        healed_in_s,
        faults,
        world.said,
    )


def limits_of(profile: Profile) -> Limits:
    """Small enough that every path is taken in a run of seconds."""
    if profile.small:
        return Limits(
            entry_bytes=300,
            append_bytes=400,
            window_bytes=1_200,
            window_messages=3,
            snapshot_after_entries=10_000,
            segment_bytes=3_000,
            free_floor_bytes=0,
        )
    if profile.snapshots:
        return Limits(
            snapshot_after_entries=15,
            keep_entries=4,
            snapshot_chunk_bytes=500,
            segment_bytes=4_000,
            free_floor_bytes=1_000,
        )
    return Limits(segment_bytes=8_000, free_floor_bytes=0)


def _converge(world: World, clients: Clients) -> float:
    """Seconds until all members agree and each has written and read."""
    healed_at = world.agenda.now
    until = healed_at + CONVERGED_WITHIN_S
    asked: dict[str, tuple[int, int]] = {}  # member -> its process, the request
    while not world.is_over and world.agenda.now < until:
        for name in sorted(world.members()):
            node = world.nodes[name]
            # A process that died answers nothing: the next one is asked anew.
            if name not in asked or asked[name][0] != node.run:
                asked[name] = node.run, clients.write(node, WRITE_TIMEOUT_S)
                clients.read(node, WRITE_TIMEOUT_S)
        world.run_until(world.agenda.now + 0.1)
        done = all(name in asked and asked[name][1] in clients.acknowledged for name in world.members())
        if done and _agree(world):
            clients.check_kept(world.members())
            return world.agenda.now - healed_at
    if not world.is_over:
        world.oracles.breach("convergence after healing", _state(world))
    return world.agenda.now - healed_at


def _agree(world: World) -> bool:
    members = [world.nodes[name] for name in world.members()]
    states = {(node.commit_index, node.applied_index, node.digest, node.voters, node.learners) for node in members}
    leaders = [node for node in world.nodes.values() if node.running and node.leads]
    return len(states) == 1 and len(leaders) == 1


def _state(world: World) -> str:
    return f"members {' '.join(sorted(world.members()))}; " + ", ".join(
        f"{name} {'leads' if node.leads else 'follows'} term {node.term}, log to {node.entries[-1][1]}, "
        f"commit {node.commit_index}, applied {node.applied_index}"
        for name, node in world.nodes.items()
        if node.running
    )
