"""What a person reads about runs: a table of profiles, and the timeline of one run."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qkms_chaos.simulation.campaign import Tally
from qkms_chaos.simulation.run import Outcome, Task


def replay_command(task: Task) -> str:
    """The command line that runs exactly this again, with its timeline."""
    only = "" if task.only is None else " --only " + ",".join(map(str, task.only or ("none",)))
    return (
        f"qkms-chaos simulate --profile {task.profile} --nodes {task.nodes} "
        f"--seeds {task.seed}:{task.seed + 1}{only} --timeline"
    )


def print_tallies(console: Console, tallies: dict[str, Tally]) -> None:
    """One line per profile: writes and barriers that were acknowledged, and the slowest healing."""
    table = Table("profile", "seeds", "steps", "writes", "barriers", "healing", "breaches")
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for name, tally in tallies.items():
        counts = (f"{n:,}" for n in (tally.runs, tally.steps, tally.acknowledged, tally.barriers))
        breaches = Text(str(len(tally.failed)), "bold red" if tally.failed else "green")
        table.add_row(name, *counts, f"{tally.slowest_s:.1f} s", breaches)
    console.print(table)


def print_timeline(console: Console, outcome: Outcome) -> None:
    """Who did what when, up to the breach. Times in simulated seconds."""
    for time, step, who, what, details in outcome.said:
        style = {"world": "yellow", "client": "dim"}.get(who, "")
        console.print(Text(f"{time:8.4f} {step:6d}  {who:8} {what} {details}", style), soft_wrap=True)
    if outcome.violation is None:
        console.print(Text(f"no breach in {outcome.steps:,} steps", "green"))
    else:
        console.print(Text(f"{outcome.task.profile}, seed {outcome.task.seed}: {outcome.violation}", "bold red"))
