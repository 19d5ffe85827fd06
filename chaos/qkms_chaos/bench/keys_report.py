"""The result of a run with many keys, and the table it is shown as."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from qkms_chaos.bench.figures import Latencies


@dataclass(frozen=True)
class Phase:
    """What went on, the encrypts beside it, and its own calls where they were timed one by one."""

    what: str
    seconds: float
    encrypts: Latencies
    calls: Latencies | None


@dataclass
class KeysResult:
    """One run. The first phase has encrypts alone. `bytes_per_key`: resident memory that one node grew by."""

    command: str
    machine: dict[str, str]
    keys: int
    versions_per_key: int
    fill_s: float = 0.0
    bytes_per_key: float = 0.0
    rewrap_s: float = 0.0
    start_s: float = 0.0
    started_from: str = ""
    phases: list[Phase] = field(default_factory=list)


def show(console: Console, result: KeysResult) -> None:
    """Prints everything that was measured."""
    console.print(f"command: {result.command}")
    for name, value in result.machine.items():
        console.print(f"{name}: {value}")
    console.print(
        f"{result.keys:,} keys with {result.versions_per_key} versions each, made in {result.fill_s:.1f} s; "
        f"{result.bytes_per_key:.0f} bytes of memory for each key; all rewrapped in {result.rewrap_s:.1f} s; "
        f"a killed node was ready again in {result.start_s:.1f} s, from {result.started_from}"
    )
    console.print(_table(result))


def _table(result: KeysResult) -> Table:
    table = Table(title="milliseconds of an encrypt, and of the phase's own calls")
    table.add_column("meanwhile", no_wrap=True)
    for column in ("s", "encrypts", "p50", "p99", "max", "p50 x alone", "calls", "p50", "p99", "max"):
        table.add_column(column, justify="right")
    alone = result.phases[0].encrypts.p50_ms
    for phase in result.phases:
        calls = _cells(phase.calls) if phase.calls else [""] * 4
        ratio = f"{phase.encrypts.p50_ms / alone:.2f}"
        table.add_row(phase.what, f"{phase.seconds:.1f}", *_cells(phase.encrypts), ratio, *calls)
    return table


def _cells(seen: Latencies) -> list[str]:
    return [f"{seen.count:,}", *(f"{value:.1f}" for value in (seen.p50_ms, seen.p99_ms, seen.max_ms))]
