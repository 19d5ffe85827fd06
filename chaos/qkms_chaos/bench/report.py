"""The result of a run: what it holds, the goals it is held against, and the tables it is shown as."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.table import Table

from qkms_chaos.bench.figures import Load, Spread
from qkms_chaos.bench.measurements import Recovery


@dataclass
class Result:
    """One run; what was not run is empty or None. Loads are medians, keyed by the number outstanding."""

    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    fdatasync: dict[str, Spread] = field(default_factory=dict)
    writes: dict[int, Load] = field(default_factory=dict)
    reads: dict[int, Load] = field(default_factory=dict)
    etcd: dict[int, Load] = field(default_factory=dict)
    failover: Spread | None = None
    recovery: list[Recovery] = field(default_factory=list)
    idle_cpu_percent: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Goal:
    """A figure against its bound; `met` says on which side it is."""

    name: str
    wanted: str
    measured: str
    met: bool


def ratios(ours: Mapping[int, Load], theirs: Mapping[int, Load]) -> dict[int, float]:
    """Our rate in multiples of theirs, where both were measured."""
    return {n: load.per_s / theirs[n].per_s for n, load in ours.items() if n in theirs}


def goals(result: Result) -> list[Goal]:
    """Those whose figures were measured."""
    ratio = ratios(result.writes, result.etcd)
    found = [_ratio_goal(n, ratio[n], bound) for n, bound in ((1, 1.0), (64, 2.0)) if n in ratio]
    if 64 in result.writes:
        found.append(_at_most("p99 of writes, 64 outstanding", result.writes[64].p99_ms, 10.0, "ms"))
    if result.reads:
        best = max(load.per_s for load in result.reads.values())
        found.append(Goal("read barriers", ">= 20,000/s", f"{best:,.0f}/s", best >= 20_000))
    if result.failover is not None:
        found.append(_at_most("failover p95", result.failover.p95_ms, 600.0, "ms"))
    if result.idle_cpu_percent:
        found.append(_at_most("idle CPU of a node", max(result.idle_cpu_percent), 2.0, "% of a core"))
    return found


def show(console: Console, result: Result) -> None:
    """Prints everything that was measured."""
    console.print(Group(*_parts(result)))


def _ratio_goal(outstanding: int, ratio: float, bound: float) -> Goal:
    return Goal(
        f"writes, {outstanding} outstanding", f">= {bound:g} x etcd", f"{ratio:.2f} x etcd", ratio >= bound
    )


def _at_most(name: str, value: float, bound: float, unit: str) -> Goal:
    return Goal(name, f"<= {bound:g} {unit}", f"{value:.1f} {unit}", value <= bound)


def _parts(result: Result) -> list[RenderableType]:
    parts: list[RenderableType] = [f"command: {result.command}"]
    parts += [f"{name}: {value}" for name, value in {**result.machine, **result.versions}.items()]
    parts += [
        f"fdatasync, {kind} file: p50 {spread.p50_ms:.3f} ms, p95 {spread.p95_ms:.3f} ms"
        for kind, spread in result.fdatasync.items()
    ]
    if result.writes or result.reads or result.etcd:
        parts.append(_loads(result))
    if result.failover is not None:
        spread = result.failover
        parts.append(
            f"failover, {spread.count} kills: p50 {spread.p50_ms:.0f} ms, p95 {spread.p95_ms:.0f} ms, "
            f"max {spread.max_ms:.0f} ms"
        )
    parts += [
        f"recovery of {each.backlog_mib:.0f} MiB: {each.recover_s:.1f} s (committed in {each.fill_s:.1f} s)"
        for each in result.recovery
    ]
    if result.idle_cpu_percent:
        parts.append("idle CPU: " + ", ".join(f"{p:.1f}%" for p in result.idle_cpu_percent) + " of a core")
    parts += [f"note: {note}" for note in result.notes]
    parts.append(_goals(result))
    return parts


def _loads(result: Result) -> Table:
    table = Table(title="medians")
    for column in ("what", "outstanding", "per second", "p50 ms", "p95 ms", "p99 ms", "x etcd"):
        table.add_column(column, justify="left" if column == "what" else "right")
    ratio = ratios(result.writes, result.etcd)
    for n, load in result.writes.items():
        _add(table, "writes", n, load, f"{ratio[n]:.2f}" if n in ratio else "")
    for n, load in result.etcd.items():
        _add(table, "etcd puts", n, load, "1")
    for n, load in result.reads.items():
        _add(table, "read barriers", n, load, "")
    return table


def _add(table: Table, what: str, outstanding: int, load: Load, ratio: str) -> None:
    latencies = (f"{value:.2f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
    table.add_row(what, f"{outstanding:,}", f"{load.per_s:,.0f}", *latencies, ratio)


def _goals(result: Result) -> Table:
    table = Table(title="goals")
    for column in ("goal", "wanted", "measured", ""):
        table.add_column(column)
    for goal in goals(result):
        table.add_row(goal.name, goal.wanted, goal.measured, "met" if goal.met else "[bold red]MISSED[/]")
    return table
