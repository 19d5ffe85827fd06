"""The command line: `qkms-chaos up`, `... demo`, `... run`, `... check`, `... simulate`, `... bench-...`."""

import signal
import sys
from pathlib import Path

import click
from rich.console import Console

from qkms_chaos.bench.api import bench_api_command
from qkms_chaos.bench.command import bench_consensus_command, bench_snapshots_command
from qkms_chaos.bench.keys import bench_keys_command
from qkms_chaos.checking.command import check_command
from qkms_chaos.cluster.failures import FAILURES, end_with
from qkms_chaos.cluster.layout import MAX_NODES
from qkms_chaos.planted.command import planted_command
from qkms_chaos.scenarios.cap_command import cap_table_command
from qkms_chaos.scenarios.command import list_command, run_all_command, run_command
from qkms_chaos.simulation.command import simulate
from qkms_chaos.tour.demo import demo as run_demo
from qkms_chaos.tour.steps import DoesNotHold
from qkms_chaos.up import up as run_up

DEFAULT_FOLDER = Path("var/cluster")
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Local clusters of real qkms processes, and simulated ones."""


main.add_command(simulate)
main.add_command(run_command)
main.add_command(list_command)
main.add_command(check_command)
main.add_command(run_all_command)
main.add_command(planted_command)
main.add_command(cap_table_command)
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
        end_with(console, error)


@main.command()
def demo() -> None:
    """Tour a fresh cluster. Exit status 0 only if every step held."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        run_demo(console)
    except (*FAILURES, DoesNotHold) as error:
        end_with(console, error)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
