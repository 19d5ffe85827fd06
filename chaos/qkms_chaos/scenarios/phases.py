"""The phases of a run, and what was available to whom in each. Pure.

A phase is the time between two faults (healing is one). Its operations are those that began in it. An operation
is served when it was answered, or refused for what it is (a conflict, a disabled version); not served when
nobody could say (unavailable, no quorum, too stale, out of time, outcome unknown).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qkms_chaos.checking.history import READS, WRITES, Op, Outcome
from qkms_chaos.workload.faulted import FaultedRun

UNSERVED = frozenset(
    {
        *("UNAVAILABLE", "NO_QUORUM", "NOT_COMMITTED", "DEADLINE_EXCEEDED", "TOO_STALE", "REVISION_NOT_REACHED"),
        *("ROOT_NOT_READY", "SEALED", "SHUTTING_DOWN", "OVERLOADED", "NOT_FOUNDED"),
    }
)
ALONE = re.compile(r"(what )?(?P<node>node-\d+) (is cut off|on one side|says reaches no other)")
"""A fault after which one node does not have the others' ears."""
KINDS = ("writes", "linearizable", "bounded", "stale_ok")


@dataclass(frozen=True)
class Phase:
    """From `begin` to `end` (time.monotonic); `what` began it. From `until` on it was being ended."""

    begin: float
    end: float
    what: str
    until: float


@dataclass(frozen=True)
class Served:
    """Operations of one kind in one phase; `p50_s`, `p99_s` of those that were served, None without any."""

    asked: int
    served: int
    p50_s: float | None
    p99_s: float | None

    @property
    def share(self) -> float | None:
        """Of those asked, 0 to 1; None when nobody asked."""
        return self.served / self.asked if self.asked else None


def phases(run: FaultedRun) -> list[Phase]:
    """The phases in order, from the beginning of the load to the agreement of all nodes."""
    marks = [(run.begun, run.begun, "no fault yet"), *((f.begin, f.end, f.text) for f in run.happened)]
    return [
        Phase(at, end, what, until)
        for (_, at, what), (until, end, _) in pairwise([*marks, (run.agreed, run.agreed, "")])
        if end > at
    ]


def alone_in(phase: Phase) -> str | None:
    """The node that does not have the others' ears in this phase, if it is one."""
    found = ALONE.match(phase.what)
    return found["node"] if found is not None else None


def sides(run: FaultedRun, phase: Phase) -> dict[str, list[Op]]:
    """The operations that began in a phase: at the node that is alone, by its own clients, and elsewhere."""
    inside = [op for op in run.ops if phase.begin <= op.start < phase.end and op.call in WRITES | READS]
    alone = alone_in(phase)
    if alone is None:
        return {"everywhere": inside}
    at_it = [op for op in inside if op.process.endswith(f"@{alone}")]
    rest = [op for op in inside if not op.process.endswith(f"@{alone}")]
    return {f"{alone}, alone": at_it, "the others": rest}


def kind(op: Op) -> str:
    """One of KINDS."""
    return "writes" if op.call in WRITES else str(op.args.get("level") or "bounded")


def is_served(op: Op) -> bool:
    """Whether somebody could say."""
    return op.outcome is Outcome.OK or (op.outcome is Outcome.REFUSED and op.reason not in UNSERVED)


def served(ops: Iterable[Op]) -> Served:
    """Of these operations."""
    found = list(ops)
    took = sorted(op.end - op.start for op in found if is_served(op) and op.end is not None)
    return Served(len(found), len(took), _at(took, 0.5), _at(took, 0.99))


def first_write_s(ops: Iterable[Op], phase: Phase) -> float | None:
    """From the fault to the first acknowledgement of a write that began after it; None: there was none."""
    ends = [op.end for op in ops if op.call in WRITES and op.outcome is Outcome.OK and op.end is not None]
    return min(ends) - phase.begin if ends else None


def _at(took: Sequence[float], share: float) -> float | None:
    return took[min(len(took) - 1, int(share * len(took)))] if took else None
