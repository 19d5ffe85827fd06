"""What a scenario is: one sentence of promise, a plan made from a seed, and its own look at what happened.

Every run is also held to what no fault may break (see `verdict`). Pure.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from qkms_chaos.checking.history import Op
from qkms_chaos.cluster.config import Overrides
from qkms_chaos.faults.schedule import Step
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.load import Load

NODES = ("node-1", "node-2", "node-3")


@dataclass(frozen=True)
class Plan:
    """What is run: faults in order of time, the load, and how the cluster differs from the default.

    `disks`, `clocks`: nodes started with a disk that can fail, or a clock that can be set. `short_certificates`:
    those of the nodes end during the run. `follow_root`: see `run_faulted`.
    """

    steps: Sequence[Step]
    load: Load = field(default_factory=Load)
    overrides: Overrides = field(default_factory=dict)
    spares: int = 0
    disks: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    short_certificates: bool = False
    follow_root: bool = False


@dataclass(frozen=True)
class Finding:
    """What a scenario's own look found: breaches, and figures by name."""

    breaches: list[str]
    figures: Mapping[str, object] = field(default_factory=dict)


def nothing_more(_: FaultedRun) -> Finding:
    """The look of a scenario that has no promise of its own beyond what always holds."""
    return Finding([])


@dataclass(frozen=True)
class Scenario:
    """`plan` makes a run of so many seconds from a seed; the same seed makes the same one.

    `any_faults`: it promises nothing of a fault by name, so that it goes without those that a network cannot make.
    """

    promise: str
    plan: Callable[[random.Random, float], Plan]
    look: Callable[[FaultedRun], Finding] = nothing_more
    seconds: float = 20.0
    any_faults: bool = False


def during(run: FaultedRun, ops: Sequence[Op], words: str, margin_s: float = 0.0) -> list[Op]:
    """Those that began and ended between a fault that says `words`, after the margin, and the next one."""
    found = []
    for fault, after in zip(run.happened, [*run.happened[1:], None], strict=False):
        if words in fault.text and not fault.problem:
            end = after.begin if after is not None else run.healed
            found += [
                op for op in ops if op.start >= fault.end + margin_s and op.end is not None and op.end <= end
            ]
    return found
