"""The result of a snapshot run, the goals it is held against, and the tables it is shown as."""

from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.table import Table

from qkms_chaos.bench.figures import Latencies
from qkms_chaos.bench.report import Goal
from qkms_chaos.bench.rounds import Gaps

MIB = 1 << 20
MAX_GAP_MS = 50.0


@dataclass(frozen=True)
class Phase:
    """What was seen at one member in a span: how long its engine was away, and the light load's commits."""

    what: str
    seconds: float
    gaps: Gaps
    commits: Latencies | None


@dataclass(frozen=True)
class Held:
    """Resident memory of one member in bytes: before, at most meanwhile, and after."""

    what: str
    before: int
    peak: int
    after: int


@dataclass
class SnapshotResult:
    """One run. `bytes_per_record`: resident memory of a member that has loaded the ledger, over an empty one."""

    command: str
    machine: dict[str, str]
    records: int = 0
    size_bytes: int = 0
    write_s: float = 0.0
    start_s: float = 0.0
    bytes_per_record: float = 0.0
    phases: list[Phase] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def goals(result: SnapshotResult) -> list[Goal]:
    """No gap over 50 ms in any phase, but for waits for a processor or the disk, which other processes use too."""
    return [
        Goal(p.what, f"<= {MAX_GAP_MS:g} ms", f"{p.gaps.own_max_ms:.1f} ms", p.gaps.own_max_ms <= MAX_GAP_MS)
        for p in result.phases
    ]


def show(console: Console, result: SnapshotResult) -> None:
    """Prints everything that was measured."""
    parts: list[RenderableType] = [f"command: {result.command}"]
    parts += [f"{name}: {value}" for name, value in result.machine.items()]
    parts.append(
        f"{result.records:,} records, {result.bytes_per_record:.0f} bytes of memory each; snapshot of "
        f"{result.size_bytes / MIB:.0f} MiB, written in {result.write_s:.1f} s, "
        f"loaded at a start in {result.start_s:.1f} s"
    )
    parts += [_phases(result), _held(result)]
    parts += [f"note: {note}" for note in result.notes]
    console.print(Group(*parts))


def _phases(result: SnapshotResult) -> Table:
    table = Table(title="milliseconds between two rounds of the engine, and until a command was answered")
    table.add_column("phase", no_wrap=True)
    for column in ("s", "p99", "max", "own", "disk", "commits", "p50", "p99", "max", ""):
        table.add_column(column, justify="right")
    for phase, goal in zip(result.phases, goals(result), strict=True):
        commits = phase.commits
        latencies = (commits.p50_ms, commits.p99_ms, commits.max_ms) if commits else ()
        table.add_row(
            phase.what,
            f"{phase.seconds:.1f}",
            f"{phase.gaps.p99_ms:.1f}",
            f"{phase.gaps.max_ms:.1f}",
            f"{phase.gaps.own_max_ms:.1f}",
            f"{phase.gaps.disk_max_ms:.1f}",
            f"{commits.count:,}" if commits else "",
            *([f"{value:.1f}" for value in latencies] or ["", "", ""]),
            "" if goal.met else "[bold red]over 50[/]",
        )
    return table


def _held(result: SnapshotResult) -> Table:
    table = Table(title="resident memory, MiB")
    table.add_column("who", no_wrap=True)
    for column in ("before", "peak", "after", "peak over before"):
        table.add_column(column, justify="right")
    for held in result.held:
        sizes = (held.before, held.peak, held.after)
        over = f"{100 * (held.peak - held.before) / held.before:.0f}%"
        table.add_row(held.what, *(f"{size / MIB:.0f}" for size in sizes), over)
    return table
