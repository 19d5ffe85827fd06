"""`qkms-chaos run`: a named scenario on a fresh cluster of real processes, and its verdict."""

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.failures import FAILURES, end_with
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.relayed import Relayed
from qkms_chaos.cluster.world import World, world_of
from qkms_chaos.workload.history import Use
from qkms_chaos.workload.northbound import northbound_once
from qkms_chaos.workload.revocation import revocation_under_partition
from qkms_chaos.workload.rotation import CLIENTS, rotation_under_load

MAX_STALENESS_S = 3.0
KEYS_PER_S = 10_000 / 60
"""For the default length, so that a run of it has 10,000 keys however slow the machine."""
Told = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """What a scenario found. `figures`: what it measured, by name."""

    breaches: list[str]
    figures: dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A promise, and the run that tries to break it."""

    promise: str
    run: Callable[[World, Relayed, float, int, Told], Verdict]


def _rotation(world: World, network: Relayed, seconds: float, seed: int, told: Told) -> Verdict:
    run = asyncio.run(rotation_under_load(world, seconds, told, seed))
    figures: dict[str, Any] = {
        "clients": CLIENTS,
        "seconds": seconds,
        "rotations": run.rotations,
        "root epochs": run.epochs,
        "restarted": run.restarted,
        "ciphertexts": len(run.sealed),
    }
    return Verdict(run.breaches(), figures | _counts(run.uses))


def _revocation(world: World, network: Relayed, seconds: float, seed: int, told: Told) -> Verdict:
    run = revocation_under_partition(world, network, MAX_STALENESS_S, told)
    figures: dict[str, Any] = {
        "cut off": run.cut_off,
        "max_staleness_s": run.max_staleness_s,
        "last use after the revocation, s": round(run.last_use_s, 3),
        "refused with": run.refused_with,
        "after healing": run.after_healing,
    }
    return Verdict(run.breaches(), figures | _counts(run.uses))


def _northbound(world: World, network: Relayed, seconds: float, seed: int, told: Told) -> Verdict:
    run = asyncio.run(northbound_once(world, seconds, round(seconds * KEYS_PER_S), told, seed))
    figures: dict[str, Any] = {
        "seconds": seconds,
        "keys drawn": len(run.given("draw")),
        "keys collected": len(run.given("collect")),
        "keys reported as perhaps consumed": len(run.reported),
        "killed": run.killed,
    }
    counts = Counter(f"{one.kind} {one.status}{' ' + one.said if one.said else ''}" for one in run.attempts)
    return Verdict(run.breaches(), figures | dict(sorted(counts.items())))


def _counts(uses: list[Use]) -> dict[str, Any]:
    found = Counter(f"{use.kind} {use.outcome}{' ' + use.reason if use.reason else ''}" for use in uses)
    return dict(sorted(found.items()))


SCENARIOS = {
    "rotation-under-load": Scenario(
        "While keys rotate, root epochs change and a node restarts, no decrypt fails "
        "and no staged or destroyed version is used.",
        _rotation,
    ),
    "revocation-under-partition": Scenario(
        "Once its key's max_staleness has passed, a revoked version is used nowhere, "
        "also at a node that is cut off.",
        _revocation,
    ),
    "northbound-once": Scenario(
        "While the leader is killed, no encryptor is given a key_ID twice, both ends have equal keys, "
        "and none is missing but where an answer was lost.",
        _northbound,
    ),
}


@click.command("list")
def list_command() -> None:
    """Name the scenarios and what each promises."""
    for name, scenario in SCENARIOS.items():
        click.echo(f"{name:28} {scenario.promise}")


@click.command("run")
@click.argument("name", type=click.Choice(list(SCENARIOS)))
@click.option(
    "--seconds", type=click.FloatRange(5, 3600), default=60.0, show_default=True, help="Length of a load."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of what clients choose.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def run_command(name: str, seconds: float, seed: int, as_json: bool) -> None:
    """Run a scenario on a fresh cluster. Exit status 1 when a promise is broken.

    \b
    example:  qkms-chaos run rotation-under-load --seconds 60
    """
    console = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="qkms-run-") as folder:
            verdict = run_scenario(
                Path(folder) / "cluster", name, seconds, seed, lambda text: console.print(text, style="dim")
            )
    except FAILURES as error:
        end_with(console, error)
    if as_json:
        click.echo(
            json.dumps({"scenario": name, "figures": verdict.figures, "breaches": verdict.breaches}, indent=2)
        )
    else:
        _show(name, verdict)
    sys.exit(1 if verdict.breaches else 0)


def run_scenario(folder: Path, name: str, seconds: float, seed: int, told: Told) -> Verdict:
    """Starts a cluster in `folder` and runs the scenario. Raises what the run raises."""
    layout = open_layout(folder)
    with Relayed(layout) as network, Cluster(layout, network) as cluster:
        cluster.start(told)
        with world_of(cluster) as world:
            world.observer.wait_root(1)
            return SCENARIOS[name].run(world, network, seconds, seed, told)


def _show(name: str, verdict: Verdict) -> None:
    console = Console()
    console.print(SCENARIOS[name].promise)
    for what, value in verdict.figures.items():
        console.print(f"  {what}: {value}", highlight=False)
    for breach in verdict.breaches[:20]:
        console.print(f"  breach: {breach}", style="bold red", soft_wrap=True)
    if verdict.breaches:
        console.print(f"broken: {len(verdict.breaches)} breaches", style="bold red")
    else:
        console.print("held", style="bold green")
