"""Faults, and the profiles that plan them: a schedule is plain data, made from a seed before the run.

An episode is one fault with its end (a cut and its healing, a kill and the
restart); shrinking removes whole episodes. At the end of every schedule all
is healed by the world, so an episode need not be complete.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Fault:
    """`kind` is a method of Nemesis, called with `node` (or None), `pairs` or `amount` as it needs."""

    time: float
    episode: int
    kind: str
    node: str = ""
    pairs: Pairs = ()
    amount: float = 0.0

    def __str__(self) -> str:
        what = self.node or " ".join(f"{a}>{b}" for a, b in self.pairs)
        return f"{self.kind} {what}{f' {self.amount:g}' if self.amount else ''}".strip()


@dataclass(frozen=True)
class _Planner:
    """Plans one episode."""

    rng: random.Random
    names: tuple[str, ...]
    episode: int
    time: float

    def at(self, after: float, kind: str, node: str = "", pairs: Pairs = (), amount: float = 0.0) -> Fault:
        return Fault(self.time + after, self.episode, kind, node, pairs, amount)

    def node(self) -> str:
        return self.rng.choice(self.names)

    def nodes(self, most: int) -> list[str]:
        return self.rng.sample(self.names, self.rng.randint(1, most))

    def span(self, shortest: float = 0.1, longest: float = 1.5) -> float:
        return self.rng.uniform(shortest, longest)


Episode = Callable[[_Planner], list[Fault]]


def _between(one: set[str], other: set[str]) -> Pairs:
    return tuple(sorted((a, b) for x, y in ((one, other), (other, one)) for a in x for b in y))


def _cut(plan: _Planner, pairs: Pairs) -> list[Fault]:
    return [plan.at(0, "cut", pairs=pairs), plan.at(plan.span(0.2, 2.0), "join", pairs=pairs)]


def halves(plan: _Planner) -> list[Fault]:
    order = list(plan.names)
    plan.rng.shuffle(order)
    size = plan.rng.randint(1, len(order) // 2)
    return _cut(plan, _between(set(order[:size]), set(order[size:])))


def isolated_leader(plan: _Planner) -> list[Fault]:
    return [plan.at(0, "isolate_leader"), plan.at(plan.span(0.3, 2.0), "join_all")]


def one_way(plan: _Planner) -> list[Fault]:
    a, b = plan.rng.sample(plan.names, 2)
    everyone = plan.rng.random() < 0.5
    pairs = tuple((a, other) for other in plan.names if other != a) if everyone else ((a, b),)
    if plan.rng.random() < 0.5:
        pairs = tuple((to, sender) for sender, to in pairs)
    return _cut(plan, pairs)


def bridge(plan: _Planner) -> list[Fault]:
    """Two halves that only one node still sees."""
    order = list(plan.names)
    plan.rng.shuffle(order)
    middle = (len(order) - 1) // 2
    return _cut(plan, _between(set(order[1 : middle + 1]), set(order[middle + 1 :])))


def break_connection(plan: _Planner) -> list[Fault]:
    a, b = plan.rng.sample(plan.names, 2)
    return [plan.at(0, plan.rng.choice(("reset", "half_open")), pairs=((a, b),))]


def slow_network(plan: _Planner) -> list[Fault]:
    return [plan.at(0, "slow", amount=plan.span(0.02, 0.25)), plan.at(plan.span(), "slow", amount=0.004)]


def kill(plan: _Planner) -> list[Fault]:
    """One, several or all die; a short way down may be between them."""
    faults: list[Fault] = []
    for name in plan.nodes(len(plan.names)):
        down = plan.rng.uniform(0, 0.1)
        faults.append(plan.at(down, "kill", name))
        faults.append(plan.at(down + plan.span(0.01, 1.5), "start", name))
    return faults


def kill_leader(plan: _Planner) -> list[Fault]:
    return [plan.at(0, "kill_leader"), plan.at(plan.span(0.01, 1.5), "start_all")]


def kill_at_write(plan: _Planner) -> list[Fault]:
    faults: list[Fault] = []
    for name in plan.nodes(len(plan.names)):
        faults.append(plan.at(0, "kill_at_write", name, amount=plan.rng.randint(1, 40)))
        faults.append(plan.at(plan.span(0.3, 1.5), "start", name))
    return faults


def power_loss(plan: _Planner) -> list[Fault]:
    everyone = plan.rng.random() < 0.4
    names = list(plan.names) if everyone else plan.nodes(len(plan.names))
    faults: list[Fault] = []
    for name in names:
        faults.append(plan.at(0, "power_loss", name))
        faults.append(plan.at(plan.span(0.05, 1.2), "start", name))
    return faults


def pause(plan: _Planner) -> list[Fault]:
    faults: list[Fault] = []
    for name in plan.nodes(len(plan.names)):
        faults.append(plan.at(0, "pause", name))
        faults.append(plan.at(plan.span(0.1, 1.5), "resume", name))
    return faults


def pause_leader(plan: _Planner) -> list[Fault]:
    return [plan.at(0, "pause_leader"), plan.at(plan.span(0.2, 1.5), "resume_all")]


def odd_clock(plan: _Planner) -> list[Fault]:
    faults: list[Fault] = []
    for name in plan.nodes(len(plan.names)):
        faults.append(plan.at(0, "clock_rate", name, amount=plan.rng.choice((0.3, 0.6, 0.9, 1.3, 2.0, 3.0))))
        faults.append(plan.at(plan.span(), "clock_jump", name, amount=plan.span(0.1, 3.0)))
        faults.append(plan.at(plan.span(), "wall_clock", name, amount=plan.rng.randint(-5000, 5000)))
    return faults


def full_disk(plan: _Planner) -> list[Fault]:
    name = plan.node()
    room = plan.rng.choice((0, 200, 1500, 4000, 9000))
    return [
        plan.at(0, "fill_disk", name, amount=room),
        plan.at(plan.span(0.3, 1.5), "free_disk", name),
        plan.at(plan.span(1.5, 1.8), "start", name),
    ]


def lost_disk(plan: _Planner) -> list[Fault]:
    name = plan.node()
    return [plan.at(0, "lose_disk", name), plan.at(plan.span(0.01, 0.5), "start", name)]


def join_cluster(plan: _Planner) -> list[Fault]:
    return [plan.at(plan.rng.uniform(0, 0.2), "join_cluster", name) for name in plan.nodes(2)]


def leave_cluster(plan: _Planner) -> list[Fault]:
    return [plan.at(plan.rng.uniform(0, 0.2), "leave_cluster", name) for name in plan.nodes(2)]


def grow_apart(plan: _Planner) -> list[Fault]:
    return [plan.at(0, "grow_apart"), plan.at(plan.span(0.5, 2.0), "join_all")]


MEMBERSHIP = (join_cluster, join_cluster, leave_cluster, leave_cluster, grow_apart)
PARTITIONS = (halves, halves, isolated_leader, isolated_leader, one_way, bridge, break_connection, slow_network)


@dataclass(frozen=True)
class Profile:
    """Which episodes a run draws from. `small`: tiny limits, so that backlogs span many messages and snapshots
    happen; `load`: proposals and barriers per second; `padding`: bytes in a large command; `spares`: machines
    beside the founders, that may join."""

    name: str
    episodes: tuple[Episode, ...]
    count: int = 6
    snapshots: bool = False
    small: bool = False
    load: float = 40.0
    padding: int = 200
    spares: int = 0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("partitions", PARTITIONS),
        Profile("kill", (kill, kill, kill_leader, *PARTITIONS[:4])),
        Profile("kill-at-write", (kill_at_write, kill_at_write, halves, isolated_leader), snapshots=True),
        Profile("power-loss", (power_loss, power_loss, halves, isolated_leader), snapshots=True),
        Profile("snapshots", (kill, kill_leader, *PARTITIONS), snapshots=True, load=70.0),
        Profile("pause", (pause, pause_leader, isolated_leader, break_connection)),
        Profile("slow-clocks", (odd_clock, odd_clock, halves, isolated_leader, kill_leader)),
        Profile("full-disk", (full_disk, full_disk, kill_leader, isolated_leader), snapshots=True),
        Profile("small-batches", (*PARTITIONS, kill), small=True, load=120.0, padding=600),
        Profile("membership", (*MEMBERSHIP, *PARTITIONS), count=12, spares=2),
        Profile(
            "membership-crashes",
            (*MEMBERSHIP, kill, kill_leader, kill_at_write, power_loss, pause, halves),
            count=12,
            snapshots=True,
            spares=2,
        ),
        Profile("lost-disk", (lost_disk, lost_disk, kill, kill_leader, *PARTITIONS[:4]), snapshots=True),
        Profile(
            "mixed",
            (
                *PARTITIONS,
                kill,
                kill_leader,
                kill_at_write,
                power_loss,
                pause,
                pause_leader,
                odd_clock,
                full_disk,
                lost_disk,
                *MEMBERSHIP,
            ),
            count=11,
            spares=1,
            snapshots=True,
            load=60.0,
        ),
    )
}

FAULTS_FROM_S, FAULTS_UNTIL_S = 0.02, 4.0
HEALED_AT_S = 4.7


def plan_faults(profile: Profile, names: tuple[str, ...], seed: str) -> list[Fault]:
    """The whole schedule of a run, in order of time. What would come after the healing is left out."""
    rng = random.Random(f"{seed} faults")  # noqa: S311
    faults: list[Fault] = []
    for episode in range(profile.count):
        time = rng.uniform(FAULTS_FROM_S, FAULTS_UNTIL_S)
        faults += rng.choice(profile.episodes)(_Planner(rng, names, episode, time))
    return sorted((f for f in faults if f.time < HEALED_AT_S), key=lambda fault: fault.time)
