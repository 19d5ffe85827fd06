"""What each consistency level gives on each side of a partition, from what happened in runs: a Markdown table.

Only operations count that began and ended within one phase: one that outlived its partition says nothing of it.
The first second of a partition is left out, in which a leader that was cut off may still be one to itself. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qkms_chaos.checking.history import Op
from qkms_chaos.scenarios.phases import KINDS, Served, alone_in, first_write_s, kind, phases, served, sides
from qkms_chaos.workload.faulted import FaultedRun

SETTLES_S = 1.0
WHOLE, MAJORITY, ALONE = "no partition", "majority side", "minority side"
PROMISES = {
    "writes": (
        "writes (create, rotate, destroy…)",
        ("yes; a repeated request has one effect and one answer", "the same, within 2 s of the cut",
         "refused with `NO_QUORUM`; an unknown outcome is called `OUTCOME_UNKNOWN`"),
    ),
    "linearizable": (
        "`LINEARIZABLE` reads and uses", ("yes", "yes", "refused with `NO_QUORUM` in bounded time"),
    ),
    "bounded": (
        "`BOUNDED(max_staleness)` reads and uses", ("yes", "yes", "until the bound has passed, then `TOO_STALE`"),
    ),
    "stale_ok": (
        "`STALE_OK` reads", ("yes", "yes", "yes, labelled with their age where it is known"),
    ),
}  # fmt: skip
"""By kind: how it is called, and what is promised without a partition, and on either side of one."""


@dataclass(frozen=True)
class Cell:
    """Operations of one kind on one side, over all runs."""

    kind: str
    side: str
    served: Served


def cells(runs: Sequence[FaultedRun]) -> list[Cell]:
    """Every kind on every side."""
    found: dict[str, list[Op]] = {WHOLE: [], MAJORITY: [], ALONE: []}
    for run in runs:
        for phase in phases(run):
            for side, ops in sides(run, phase).items():
                if alone_in(phase) is None and phase.what != "no fault yet":
                    continue
                place = WHOLE if alone_in(phase) is None else MAJORITY if side == "the others" else ALONE
                margin = 0.0 if place == WHOLE else SETTLES_S
                found[place] += [
                    op for op in ops if op.start >= phase.begin + margin and op.end and op.end <= phase.until
                ]
    return [
        Cell(one, side, served(op for op in ops if kind(op) == one))
        for one in KINDS
        for side, ops in found.items()
    ]


def first_writes_s(runs: Iterable[FaultedRun]) -> list[float]:
    """From each partition to the first write that the majority acknowledged, in order of size."""
    found = []
    for run in runs:
        for phase in phases(run):
            if alone_in(phase) is not None:
                first = first_write_s(sides(run, phase)["the others"], phase)
                found += [first] if first is not None else []
    return sorted(found)


def table(runs: Sequence[FaultedRun]) -> str:
    """The table, and a line on how soon writes were accepted."""
    by_place = {(cell.kind, cell.side): cell.served for cell in cells(runs)}
    lines = [f"| | {WHOLE} | {MAJORITY} | {ALONE} |", "|---|---|---|---|"]
    for one, (name, promises) in PROMISES.items():
        measured = [_measured(by_place[one, side]) for side in (WHOLE, MAJORITY, ALONE)]
        row = " | ".join(f"{promise}<br>{figures}" for promise, figures in zip(promises, measured, strict=True))
        lines.append(f"| {name} | {row} |")
    waits = first_writes_s(runs)
    if waits:
        middle, late = waits[len(waits) // 2], waits[min(len(waits) - 1, int(0.95 * len(waits)))]
        lines += [
            "",
            f"First write acknowledged after {len(waits)} partitions: p50 {middle:.2f} s, p95 {late:.2f} s, "
            f"max {waits[-1]:.2f} s.",
        ]
    return "\n".join(lines)


def _measured(found: Served) -> str:
    if found.share is None:
        return "*nobody asked*"
    # Rounded so that a hundred means all, and nothing means none.
    share = "100%" if found.served == found.asked else f"{min(99.9, 100 * found.share):.1f}%"
    took = "" if found.p50_s is None else f", p50 {found.p50_s * 1000:.0f} ms"
    return f"*served: {share} of {found.asked:,}{took}*"
