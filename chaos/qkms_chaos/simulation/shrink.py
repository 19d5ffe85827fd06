"""From a failing run to a short one: episodes are left out as long as the same rule is still broken."""

from collections.abc import Callable
from dataclasses import replace

from qkms_chaos.simulation.run import Outcome, Task

_MOST_RUNS = 80


def shrink(failed: Outcome, run: Callable[[Task], Outcome]) -> Outcome:
    """The shortest failing run found, perhaps `failed` itself. `run` must be deterministic."""
    assert failed.violation is not None
    best, runs = failed, 0
    shorter = True
    while shorter and runs < _MOST_RUNS:
        shorter = False
        episodes = sorted({fault.episode for fault in best.faults})
        for left_out in episodes:
            only = tuple(episode for episode in episodes if episode != left_out)
            outcome = run(replace(failed.task, only=only))
            runs += 1
            if outcome.violation is not None and outcome.violation.oracle == failed.violation.oracle:
                best, shorter = outcome, True
                break
    return best
