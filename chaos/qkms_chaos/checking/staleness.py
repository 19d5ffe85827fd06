"""Answers are as fresh as their label says, and their label is what was asked for. Pure.

An answer says the level it satisfies and how old its state may have been when it was made. That is after the node
had found its state fresh enough, so the age may exceed the bound by what the call took.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from qkms_chaos.checking.effects import acknowledged, told
from qkms_chaos.checking.history import READS, Op, Outcome
from qkms_chaos.checking.key_model import LINEARIZABLE

_ENOUGH = {LINEARIZABLE: {LINEARIZABLE}, "bounded": {LINEARIZABLE, "bounded"}}


def labels(ops: Sequence[Op], max_staleness_s: float) -> list[str]:
    """The level of an answer is no weaker than what was asked for, and its age is within the bound.

    Uses that ask for nothing are bounded by their key's `max_staleness_s`.
    """
    return [
        f"{problem}: {op}"
        for op in ops
        if op.call in READS and op.outcome is Outcome.OK
        for problem in _mislabelled(op, max_staleness_s)
    ]


def ages(ops: Sequence[Op]) -> list[str]:
    """No answer names a primary version older than one acknowledged before the time that its age leads back to."""
    made: dict[str, tuple[list[float], list[int]]] = {}
    for end, key, version in acknowledged(ops):
        times, newest = made.setdefault(key, ([], []))
        times.append(end)
        newest.append(max(version, newest[-1] if newest else 0))
    found = []
    for op in ops:
        back_s = _age_s(op)
        if (
            op.outcome is not Outcome.OK
            or op.call not in ("get", "encrypt")
            or back_s is None
            or op.key not in made
        ):
            continue
        times, newest = made[op.key]
        before = bisect_left(times, op.start - back_s)
        if before and told(op) < newest[before - 1]:
            found.append(
                f"version {newest[before - 1]} was acknowledged {op.start - times[before - 1]:.3f} s before, "
                f"the age is at most {back_s:.3f} s: {op}"
            )
    return found


def _mislabelled(op: Op, max_staleness_s: float) -> Iterator[str]:
    asked = op.args.get("level") or "bounded"
    level, age_ms = op.answer.get("level"), op.answer.get("staleness_ms")
    if level not in _ENOUGH.get(str(asked), {level}):
        yield f"asked for {asked}, labelled {level}"
    if asked == "bounded" and level == "bounded":
        bound_ms = op.args.get("bound_ms") if op.args.get("level") else max_staleness_s * 1000
        took_ms = ((op.end or op.start) - op.start) * 1000
        if not isinstance(age_ms, int | float):
            yield "bounded, and does not say how old it may be"
        elif isinstance(bound_ms, int | float) and age_ms > bound_ms + took_ms:
            yield f"{age_ms:.0f} ms old, the bound is {bound_ms:.0f} ms"


def _age_s(op: Op) -> float | None:
    """How old the answer may be at most, by what it says of itself and by what was asked for."""
    if op.answer.get("level") == LINEARIZABLE:
        return 0.0
    ages_ms = [op.answer.get("staleness_ms")]
    if op.args.get("level") == "bounded":
        ages_ms.append(op.args.get("bound_ms"))
    known = [value for value in ages_ms if isinstance(value, int | float)]
    return min(known) / 1000 if known else None
