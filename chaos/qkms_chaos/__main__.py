"""The command line: `qkms-chaos up`, `qkms-chaos demo`, `qkms-chaos simulate`, `qkms-chaos bench-...`."""

import signal
import sys
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.text import Text

from qkms_chaos.bench.api import bench_api_command
from qkms_chaos.bench.command import bench_consensus_command, bench_snapshots_command
from qkms_chaos.bench.keys import bench_keys_command
from qkms_chaos.cluster.layout import MAX_NODES, LayoutError
from qkms_chaos.cluster.process import ProcessDied, ProcessHangs
from qkms_chaos.cluster.waits import WaitExpired
from qkms_chaos.simulation.command import simulate
from qkms_chaos.tour.demo import demo as run_demo
from qkms_chaos.tour.steps import DoesNotHold
from qkms_chaos.up import up as run_up
from qkms_client.errors import QkmsError

DEFAULT_FOLDER = Path("var/cluster")
FAILURES = (LayoutError, ProcessDied, ProcessHangs, WaitExpired, DoesNotHold, QkmsError, OSError)
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Local clusters of real qkms processes, and simulated ones."""


main.add_command(simulate)
main.add_command(bench_consensus_command)
main.add_command(bench_api_command)
main.add_command(bench_keys_command)
main.add_command(bench_snapshots_command)


@main.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the cluster lives. What it holds is resumed.",
)
@click.option("--nodes", type=click.IntRange(1, MAX_NODES), help="Nodes of a new cluster.  [default: 3]")
def up(folder: Path, nodes: int | None) -> None:
    """Run a cluster in the foreground until Ctrl-C or SIGTERM, and show its state.

    \b
    example:  qkms-chaos up --dir var/five --nodes 5
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        run_up(console, folder, nodes)
    except FAILURES as error:
        _end_with(console, error)


@main.command()
def demo() -> None:
    """Tour a fresh cluster. Exit status 0 only if every step held."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        run_demo(console)
    except FAILURES as error:
        _end_with(console, error)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _end_with(console: Console, error: Exception) -> NoReturn:
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
