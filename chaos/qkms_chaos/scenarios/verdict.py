"""What no fault may break, looked for in what happened; and the scenario's own promise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qkms_chaos.checking.history import Op
from qkms_chaos.checking.judgement import Judgement
from qkms_chaos.checking.judgements import judgements, without_watches
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.scenarios.scenario import Scenario
from qkms_chaos.workload.faulted import FaultedRun
from qkms_chaos.workload.load import MAX_STALENESS
from qkms_client.errors import QkmsError

PROMISE, ONE_STATE = "the scenario's promise", "all nodes came to one state"


@dataclass(frozen=True)
class Verdict:
    """Every invariant of a run, and what was measured."""

    judgements: list[Judgement]
    figures: Mapping[str, Any]

    @property
    def breaches(self) -> list[str]:
        """All of them."""
        return [f"{one.name}: {breach}" for one in self.judgements for breach in one.breaches]

    def also(self, more: Judgement) -> "Verdict":
        """The same, and what was found of one more invariant."""
        return Verdict([*self.judgements, more], self.figures)


def judged(scenario: Scenario, run: FaultedRun, world: World) -> Verdict:
    """The verdict on a run whose cluster is still there, healed."""
    own = scenario.look(run)
    found = [
        Judgement(PROMISE, own.breaches),
        carried_out(run.happened),
        Judgement(ONE_STATE, _states(run)),
        whole_audits(world),
        *judgements(run.ops, MAX_STALENESS.total_seconds()),
    ]
    return Verdict(found, {**_figures(run), **own.figures})


def judged_history(
    breaches: Sequence[str],
    happened: Sequence[Happened],
    disagreement: str,
    ops: Sequence[Op],
    max_staleness_s: float,
    world: World,
) -> list[Judgement]:
    """The judgements on a run with a load of its own, in which nobody watched. `breaches`: of its promise."""
    return [
        Judgement(PROMISE, list(breaches)),
        carried_out(happened),
        Judgement(ONE_STATE, [disagreement] if disagreement else []),
        whole_audits(world),
        *without_watches(ops, max_staleness_s),
    ]


def _states(run: FaultedRun) -> list[str]:
    if run.disagreement:
        return [run.disagreement]
    digests = {status.state_digest for status in run.statuses.values()}
    if len(digests) == 1:
        return []
    return [", ".join(f"{node}: {status.state_digest.hex()[:12]}" for node, status in run.statuses.items())]


def carried_out(happened: Sequence[Happened]) -> Judgement:
    """Whether every fault was really made."""
    return Judgement("the faults were carried out", [f"{f.text}: {f.problem}" for f in happened if f.problem])


def whole_audits(world: World) -> Judgement:
    """What each node finds when it checks its own audit files."""
    found = []
    for node in world.cluster.nodes:
        try:
            verdicts = world.operator.verify_audit(node)
        except QkmsError as error:
            found.append(f"{node} did not check its files: {error}")
            continue
        found += [f"{node}: {one.chain}: {one.problem}" for one in verdicts if not one.intact]
    return Judgement("the audit chain is whole on every node", found)


def _figures(run: FaultedRun) -> dict[str, object]:
    return {
        "operations": len(run.ops),
        "faults": len(run.happened),
        "answered from memory": sum(op.answer.get("replayed") is True for op in run.ops),
        "one state after healing, s": round(run.agreed - run.healed, 2),
        **outcomes(run.ops),
    }


def outcomes(ops: Sequence[Op]) -> dict[str, int]:
    """How many operations of each kind ended how."""
    counts = Counter(f"{op.call} {op.outcome}{f' {op.reason}' if op.reason else ''}" for op in ops)
    return dict(sorted(counts.items()))
