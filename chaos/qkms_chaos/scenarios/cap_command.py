"""`qkms-chaos cap-table`: what holds on each side of a partition, from saved runs, into a Markdown file."""

from collections.abc import Sequence
from pathlib import Path

import click

from qkms_chaos.checking.history import HistoryInvalid
from qkms_chaos.scenarios.cap import table
from qkms_chaos.scenarios.saved import Record, RunInvalid, saved_runs

BEGIN, END = "<!-- cap-table: written by `qkms-chaos cap-table` -->", "<!-- end of cap-table -->"


class MarkersMissing(Exception):
    """The file does not say where the table goes."""

    code = "MARKERS_MISSING"


def with_table(text: str, markdown: str) -> str:
    """The text with the table in place of what was between the markers. Raises MarkersMissing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MarkersMissing(f"put the lines {BEGIN} and {END} where the table is to go")
    return f"{before}{BEGIN}\n{markdown}\n{END}{after}"


def origin(records: Sequence[Record]) -> str:
    """Which runs the figures are from, and how to have them again."""
    names = sorted({record.scenario for record in records})
    seeds = max(record.seed for record in records)
    networks = sorted({record.network for record in records})
    chosen = "".join(f" --only {name}" for name in names) + "".join(f" --network {name}" for name in networks)
    return (
        f"From {len(records)} runs of {', '.join(names)} on {' and '.join(networks)}; the first second of each "
        f"partition is left out.\n`qkms-chaos run-all{chosen} --seeds {seeds}`, then "
        "`qkms-chaos cap-table --write README.md`, measures anew."
    )


@click.command("cap-table")
@click.option(
    "--from", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("var/chaos"),
    show_default=True, help="Where runs have left what they leave.",
)  # fmt: skip
@click.option(
    "--write", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put it between the markers of this file, instead of printing it.",
)  # fmt: skip
def cap_table_command(folder: Path, file: Path | None) -> None:
    """Tell what was available on each side of partitions, at each consistency level, in saved runs.

    Runs with a broken promise are refused: their figures would be those of something that is to be mended.

    \b
    example:  qkms-chaos cap-table --from var/chaos --write README.md
    """
    try:
        saved = list(saved_runs(folder))
    except (RunInvalid, HistoryInvalid, OSError) as error:
        raise click.UsageError(f"{folder}: {error}") from error
    if not saved:
        raise click.UsageError(f"{folder} has no run; make some with qkms-chaos run-all, or run with --dir")
    broken = [f"{record.scenario} --seed {record.seed}" for record, _ in saved if record.breaches]
    if broken:
        raise click.UsageError(f"promises were broken in {', '.join(broken)}; mend that first")
    markdown = f"{table([run for _, run in saved])}\n\n{origin([record for record, _ in saved])}"
    if file is None:
        click.echo(markdown)
        return
    try:
        file.write_text(with_table(file.read_text(), markdown))
    except MarkersMissing as error:
        raise click.UsageError(f"{file}: {error}") from error
