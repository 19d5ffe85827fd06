"""`qkms-chaos simulate`: many seeds, or one with its timeline."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qkms_chaos.simulation.campaign import run_all, tasks
from qkms_chaos.simulation.faults import PROFILES
from qkms_chaos.simulation.report import print_tallies, print_timeline, replay_command
from qkms_chaos.simulation.run import Outcome, Task, run
from qkms_chaos.simulation.shrink import shrink

_SHOWN_FAILURES = 3


class Seeds(click.ParamType[range]):
    """`a:b`: from a up to, not including, b; or one seed."""

    name = "a:b"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> range:
        first, _, end = str(value).partition(":")
        try:
            seeds = range(int(first), int(end) if end else int(first) + 1)
        except ValueError:
            self.fail(f"{value} is not a range of seeds such as 0:100", param, ctx)
        if not seeds:
            self.fail(f"{value} holds no seed", param, ctx)
        return seeds


class Episodes(click.ParamType[tuple[int, ...]]):
    """Numbers with commas between them; `none` for no fault at all."""

    name = "n,n,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return () if value == "none" else tuple(int(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value} is not a list of episodes such as 0,3", param, ctx)


@click.command()
@click.option("--profile", type=click.Choice([*PROFILES, "all"]), default="all", show_default=True)
@click.option("--seeds", type=Seeds(), default="0:100", show_default=True, help="From a up to b, b left out.")
@click.option("--nodes", type=click.Choice(["3", "5"]), default="3", show_default=True)
@click.option("--steps", type=click.IntRange(1), help="End each run after so many steps of nodes.")
@click.option("--only", type=Episodes(), help="Of the faults planned, only these episodes happen.")
@click.option("--timeline", is_flag=True, help="Print who did what when, run by run.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
def simulate(
    profile: str,
    seeds: range,
    nodes: str,
    steps: int | None,
    only: tuple[int, ...] | None,
    timeline: bool,
    workers: int | None,
) -> None:
    """Run real consensus engines on simulated time, network and disks, and check what must hold at every step.

    The same seed does the same again. Exit status 1 on any breach; a failing seed is shortened and explained.

    \b
    example:  qkms-chaos simulate --profile kill --seeds 0:200 --nodes 5
    """
    console = Console()
    profiles = list(PROFILES) if profile == "all" else [profile]
    todo = [Task(t.profile, t.nodes, t.seed, only, steps) for t in tasks(profiles, int(nodes), seeds)]
    if timeline:
        outcomes = [run(task, trace=True) for task in todo]
        for outcome in outcomes:
            print_timeline(console, outcome)
        sys.exit(any(outcome.violation for outcome in outcomes))
    sys.exit(_campaign(console, todo, workers))


def _campaign(console: Console, todo: list[Task], workers: int | None) -> bool:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("simulating", total=len(todo))
        tallies = run_all(todo, workers, lambda _: progress.advance(bar))
    print_tallies(console, tallies)
    failed = [outcome for tally in tallies.values() for outcome in tally.failed]
    for outcome in failed[:_SHOWN_FAILURES]:
        _explain(console, outcome)
    for outcome in failed[_SHOWN_FAILURES:]:
        console.print(
            f"also: {outcome.task.profile}, seed {outcome.task.seed}: {outcome.violation}", soft_wrap=True
        )
    return bool(failed)


def _explain(console: Console, failed: Outcome) -> None:
    short = shrink(failed, run)
    print_timeline(console, run(short.task, trace=True))
    console.print(f"as found:   {replay_command(failed.task)}", soft_wrap=True, highlight=False)
    console.print(f"shortened:  {replay_command(short.task)}", soft_wrap=True, highlight=False)
