"""`qkms-chaos run`, `qkms-chaos list`: a named scenario on a fresh cluster of real processes, and its verdict."""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from qkms_chaos.cluster.failures import FAILURES, end_with
from qkms_chaos.cluster.layout import LayoutError
from qkms_chaos.faults.network import Unsupported
from qkms_chaos.faults.opening import NETWORKS
from qkms_chaos.faults.schedule import Step, decode
from qkms_chaos.scenarios import lies, measured, network, processes, quantum
from qkms_chaos.scenarios.cap import table
from qkms_chaos.scenarios.measured import Measured, run_measured
from qkms_chaos.scenarios.report import REPORT, replay_command
from qkms_chaos.scenarios.running import Order, Told, plan_of, run_scenario
from qkms_chaos.scenarios.saved import HISTORY
from qkms_chaos.scenarios.scenario import Scenario
from qkms_chaos.scenarios.verdict import Verdict
from qkms_chaos.workload.faulted import FaultedRun

SCENARIOS: Mapping[str, Scenario | Measured] = {
    **network.SCENARIOS,
    **processes.SCENARIOS,
    **quantum.SCENARIOS,
    **lies.SCENARIOS,
    **measured.SCENARIOS,
}
EXIT_BROKEN, EXIT_SKIPPED, EXIT_UNDECIDED = 1, 3, 4


@click.command("run-all")
@click.option("--network", "kinds", type=click.Choice(list(NETWORKS)), multiple=True, default=list(NETWORKS))
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each: seeds 1, 2..."
)
@click.option("--seconds", type=click.FloatRange(5, 7200), help="Length of the load of each. Default: its own.")
@click.option("--only", "names", type=click.Choice(list(SCENARIOS)), multiple=True, help="Only these.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/chaos"),
    show_default=True,
    help="For what the runs leave, in place of what earlier ones left.",
)
def run_all_command(
    kinds: tuple[str, ...], seeds: int, seconds: float | None, names: tuple[str, ...], folder: Path
) -> None:
    """Run every scenario on every network that this machine can have, and tell what each promises and measured.

    Prints the table of what is available on each side of a partition, from all of these runs. Exit status 1 when a
    promise is broken.
    """
    console = Console()
    runs, broken = [], 0
    for name in names or SCENARIOS:
        for kind in kinds:
            for seed in range(1, seeds + 1):
                place = folder / f"{name}-{kind}-{seed}"
                console.print(f"{name} on {kind}, seed {seed}: ", end="", highlight=False)
                # What an earlier run of this command left there: a run begins on a fresh cluster.
                shutil.rmtree(place, ignore_errors=True)
                try:
                    lasts = seconds or SCENARIOS[name].seconds
                    run, verdict = run_named(place, name, seed, lasts, kind, lambda _: None)
                except Unsupported as error:
                    console.print(f"skipped: {error}", style="yellow", soft_wrap=True)
                    continue
                except FAILURES as error:
                    console.print(f"error: {error}", style="bold red", soft_wrap=True, markup=False)
                    broken += 1
                    continue
                broken += bool(verdict.breaches)
                runs += [run] if run is not None else []
                _tell(console, verdict)
    if runs:
        console.print(table(runs), soft_wrap=True, highlight=False, markup=False)
    sys.exit(EXIT_BROKEN if broken else 0)


def _tell(console: Console, verdict: Verdict) -> None:
    undecided = [one.name for one in verdict.judgements if one.undecided]
    if verdict.breaches:
        console.print("broken", style="bold red")
        for breach in verdict.breaches[:5]:
            console.print(f"  {breach}", style="red", soft_wrap=True, markup=False)
    elif undecided:
        console.print(f"undecided: {', '.join(undecided)}", style="yellow", soft_wrap=True)
    else:
        console.print("held", style="green")


@click.command("list")
def list_command() -> None:
    """Name the scenarios and what each promises."""
    for name, scenario in SCENARIOS.items():
        click.echo(f"{name:28} {scenario.promise}")


@click.command("run")
@click.argument("name", type=click.Choice(list(SCENARIOS)))
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed makes the same faults and load."
)
@click.option("--seconds", type=click.FloatRange(5, 7200), help="Length of the load. Default: the scenario's own.")
@click.option("--minutes", type=click.FloatRange(0.1, 120), help="The same in minutes.")
@click.option("--network", "kind", type=click.Choice(list(NETWORKS)), default="toxiproxy", show_default=True)
@click.option(
    "--schedule", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Replay these faults."
)
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Keep what it leaves here."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def run_command(
    name: str,
    seed: int,
    seconds: float | None,
    minutes: float | None,
    kind: str,
    schedule: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Run a scenario on a fresh cluster.

    The schedule of faults is printed before it begins; it and the history of every operation are kept in --dir.

    \b
    Exit status: 0 held, 1 broken, 3 not possible on this machine, 4 undecided.
    Examples:
      qkms-chaos run split-brain-writes
      qkms-chaos run mixed --minutes 30 --seed 7 --network netns --dir var/mixed-7
      qkms-chaos run mixed --schedule var/mixed-7/schedule.json
    """
    console = Console(stderr=True)
    scenario = SCENARIOS[name]
    lasts = minutes * 60 if minutes else seconds or scenario.seconds
    try:
        steps = decode(schedule.read_bytes()) if schedule else None
    except ValueError as error:
        raise click.UsageError(f"{schedule}: {error}") from error

    def told(text: str) -> None:
        console.print(text, style="dim", soft_wrap=True, highlight=False)

    try:
        with ExitStack() as stack:
            place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qkms-run-")))
            _, verdict = run_named(place, name, seed, lasts, kind, told, steps)
    except Unsupported as error:
        console.print(f"skipped: {error}", style="yellow", soft_wrap=True)
        sys.exit(EXIT_SKIPPED)
    except FAILURES as error:
        end_with(console, error)
    if as_json:
        click.echo(json.dumps(_plain(name, verdict), indent=2))
    else:
        _show(name, verdict)
    undecided = any(one.undecided for one in verdict.judgements)
    sys.exit(EXIT_BROKEN if verdict.breaches else EXIT_UNDECIDED if undecided else 0)


def run_named(
    folder: Path, name: str, seed: int, seconds: float, kind: str, told: Told, steps: list[Step] | None = None
) -> tuple[FaultedRun | None, Verdict]:
    """Runs the scenario of this name; what happened, where the general load was used.

    Raises Unsupported, LayoutError when `folder` holds a run already, and what the run raises.
    """
    scenario = SCENARIOS[name]
    if (folder / "cluster").exists():
        raise LayoutError(f"{folder} holds a run already; remove it, or name another folder with --dir")
    told(f"replay with: {replay_command(name, seed, seconds, kind)}")
    if isinstance(scenario, Measured):
        verdict = run_measured(folder, name, seed, seconds, kind, told)
        told(f"report: {folder / REPORT}, history: {folder / HISTORY}")
        return None, verdict
    order = Order(name, scenario, seed, seconds, kind, steps)
    for step in plan_of(order).steps:
        told(str(step))
    run, verdict = run_scenario(folder, order, told)
    told(f"report: {folder / REPORT}, history: {folder / HISTORY}")
    return run, verdict


def _plain(name: str, verdict: Verdict) -> dict[str, object]:
    return {
        "scenario": name,
        "figures": dict(verdict.figures),
        "invariants": {
            one.name: {"breaches": one.breaches, "undecided": one.undecided} for one in verdict.judgements
        },
        "breaches": verdict.breaches,
    }


def _show(name: str, verdict: Verdict) -> None:
    console = Console()
    console.print(SCENARIOS[name].promise)
    for what, value in verdict.figures.items():
        console.print(f"  {what}: {value}", highlight=False)
    told = Table("invariant", "verdict", box=None)
    for one in verdict.judgements:
        said = f"[red]broken ({len(one.breaches)})" if one.breaches else "[green]held"
        told.add_row(one.name, f"[yellow]undecided: {one.undecided}" if one.undecided else said)
    console.print(told)
    for breach in verdict.breaches[:20]:
        console.print(f"  breach: {breach}", style="bold red", soft_wrap=True, markup=False)
    if verdict.breaches:
        console.print(f"broken: {len(verdict.breaches)} breaches", style="bold red")
    else:
        console.print("held", style="bold green")
