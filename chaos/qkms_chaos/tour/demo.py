"""Running the tour: a fresh cluster in a temporary folder, every step, and everything stopped again."""

import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.world import world_of
from qkms_chaos.tour.narrator import Narrator
from qkms_chaos.tour.steps import STEPS, Tour, expect

START = "start three KMEs and three nodes"
STOP = "stop every process"


def demo(console: Console) -> None:
    """Raises what the first step raised that did not hold, after naming the folder with the logs."""
    folder = Path(tempfile.mkdtemp(prefix="qkms-demo-"))
    console.print(f"A fresh cluster in {folder}\n", highlight=False)
    try:
        with Cluster(open_layout(folder)) as cluster:
            _tour(console, cluster)
    except BaseException:
        console.print(
            f"\nAll processes are stopped. Their logs: {folder / 'logs'}", highlight=False, soft_wrap=True
        )
        raise
    shutil.rmtree(folder)
    console.print("\n[bold green]Every step held.[/]")


def _tour(console: Console, cluster: Cluster) -> None:
    narrator = Narrator(console, len(STEPS) + 2)
    with narrator.step(START) as result:
        cluster.start(narrator.told)
        result(f"{', '.join((*cluster.kmes, *cluster.nodes))}, with mutual TLS between all of them")
    with world_of(cluster, narrator.told) as world:
        tour = Tour(world, narrator.told)
        for title, action in STEPS:
            with narrator.step(title) as result:
                result(action(tour))
    with narrator.step(STOP) as result:
        codes = cluster.stop()
        expect(set(codes.values()) == {0}, f"every process exits with code 0: {codes}")
        result(f"{', '.join(codes)}: exit code 0")
