"""The command lines of the benchmarks; a missed goal is a result, not an error."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console

from qkms_chaos.bench import snapshot_report
from qkms_chaos.bench.consensus import PARTS, Part, bench_consensus
from qkms_chaos.bench.etcd import EtcdFailed
from qkms_chaos.bench.h2load import Unreadable
from qkms_chaos.bench.measurements import NotReplicated
from qkms_chaos.bench.members import MemberFailed
from qkms_chaos.bench.report import goals, show
from qkms_chaos.bench.snapshots import bench_snapshots
from qkms_chaos.cluster.failures import end_with
from qkms_chaos.cluster.process import ProcessDied
from qkms_chaos.cluster.waits import WaitExpired

FAILURES = (EtcdFailed, Unreadable, NotReplicated, MemberFailed, ProcessDied, WaitExpired, OSError)
SECONDS = 2.0
RECORDS = 1_000_000
EXIT_INTERRUPTED = 130


@click.command("bench-consensus")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=SECONDS, show_default=True, help="Length of each load."
)
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Run this part; may be repeated.")
def bench_consensus_command(as_json: bool, seconds: float, only: tuple[Part, ...]) -> None:
    """Measure three members on loopback, beside three nodes of etcd when that is installed.

    Works below the current folder: run it on the disk that is to be measured.

    \b
    example:  qkms-chaos bench-consensus --only writes --only etcd
    """
    progress = Console(stderr=True)
    with _ending_well(progress):
        result = bench_consensus(progress, seconds, only or PARTS)
    if as_json:
        click.echo(json.dumps({**asdict(result), "goals": [asdict(goal) for goal in goals(result)]}, indent=2))
    else:
        show(Console(), result)


@click.command("bench-snapshots")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
@click.option(
    "--records", type=click.IntRange(1000), default=RECORDS, show_default=True, help="Size of the ledger."
)
def bench_snapshots_command(as_json: bool, records: int) -> None:
    """Measure how long snapshots of a large ledger hold a member up, and what memory they take.

    Works below the current folder: run it on the disk that is to be measured.

    \b
    example:  qkms-chaos bench-snapshots --records 100000
    """
    progress = Console(stderr=True)
    with _ending_well(progress):
        result = bench_snapshots(progress, records)
    if as_json:
        reached = [asdict(goal) for goal in snapshot_report.goals(result)]
        click.echo(json.dumps({**asdict(result), "goals": reached}, indent=2))
    else:
        snapshot_report.show(Console(), result)


@contextmanager
def _ending_well(progress: Console) -> Iterator[None]:
    """Ends the process with a message or after an interruption, with everything cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except FAILURES as error:
        end_with(progress, error)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
