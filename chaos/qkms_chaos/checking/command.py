"""`qkms-chaos check`: a kept history, judged."""

import json
import sys
from pathlib import Path

import click

from qkms_chaos.checking.history import HistoryInvalid, read
from qkms_chaos.checking.judgements import judgements
from qkms_chaos.checking.linearizability import BUDGET

EXIT_BROKEN, EXIT_UNDECIDED = 1, 4


@click.command("check")
@click.argument("history", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--max-staleness", type=click.FloatRange(min=0, min_open=True), default=2.0, show_default=True,
    help="Of the keys in the history, in seconds.",
)  # fmt: skip
@click.option(
    "--budget", type=click.IntRange(min=1), default=BUDGET, show_default=True,
    help="Configurations of a key after which its order is undecided.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the judgements as JSON.")
def check_command(history: Path, max_staleness: float, budget: int, as_json: bool) -> None:
    """Judge a history that a run has left.

    \b
    Exit status: 0 held, 1 broken, 2 no history, 4 undecided.
    Example:
      qkms-chaos check var/mixed-7/history.jsonl
    """
    try:
        ops = read(history)
    except HistoryInvalid as error:
        raise click.UsageError(f"{history}: {error.code}: {error}") from error
    found = judgements(ops, max_staleness, budget)
    if as_json:
        plain = {one.name: {"breaches": one.breaches, "undecided": one.undecided} for one in found}
        click.echo(json.dumps({"operations": len(ops), "invariants": plain}, indent=2))
    else:
        click.echo(f"{len(ops):,} operations")
        for one in found:
            held = f"undecided: {one.undecided}" if one.undecided else "held"
            click.echo(f"  {one.name:48} {f'broken ({len(one.breaches)})' if one.breaches else held}")
        for one in found:
            for breach in one.breaches:
                click.echo(f"breach: {one.name}: {breach}")
    broken, undecided = any(one.breaches for one in found), any(one.undecided for one in found)
    sys.exit(EXIT_BROKEN if broken else EXIT_UNDECIDED if undecided else 0)
