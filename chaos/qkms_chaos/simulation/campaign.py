"""Many runs over all cores, and what came of them per profile."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from qkms_chaos.simulation.run import Outcome, Task, run

_CHUNK = 4


@dataclass
class Tally:
    """All runs of one profile. `slowest_s`: simulated, from healing to convergence."""

    runs: int = 0
    steps: int = 0
    acknowledged: int = 0
    barriers: int = 0
    slowest_s: float = 0.0
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.steps += outcome.steps
        self.acknowledged += outcome.acknowledged
        self.barriers += outcome.barriers
        self.slowest_s = max(self.slowest_s, outcome.healed_in_s)
        if outcome.violation is not None:
            self.failed.append(outcome)


def tasks(profiles: Iterable[str], nodes: int, seeds: range) -> list[Task]:
    """Every profile with every seed, the profiles mixed so that each is heard of early."""
    names = list(profiles)
    return [Task(profile, nodes, seed) for seed in seeds for profile in names]


def run_all(todo: list[Task], workers: int | None, finished: Callable[[Outcome], None]) -> dict[str, Tally]:
    """Runs everything in `workers` processes, as many as there are cores by default."""
    tallies: dict[str, Tally] = {task.profile: Tally() for task in todo}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(run, todo, chunksize=_CHUNK):
            tallies[outcome.task.profile].add(outcome)
            finished(outcome)
    return tallies
