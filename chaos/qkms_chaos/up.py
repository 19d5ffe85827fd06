"""`qkms-chaos up`: a cluster in the foreground, its state shown, until it is told to stop.

Resumes what the folder holds. Members that die are shown, not restarted: this
is where one looks at a cluster, kills one of it by hand and watches.
"""

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.live import Live

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.observe import Observer
from qkms_chaos.cluster.world import world_of
from qkms_chaos.status_table import View, lines, render

LOOK_EVERY_S = 1.0


def up(console: Console, folder: Path, nodes: int | None) -> None:
    """Runs until SIGINT or SIGTERM, then stops every process. Raises LayoutError, ProcessDied, WaitExpired."""
    layout = open_layout(folder, nodes)
    resumed = layout.log(layout.nodes[0]).exists()
    with Cluster(layout) as cluster:
        try:
            console.print(f"{'Resuming' if resumed else 'Starting'} the cluster in {folder}", highlight=False)
            cluster.start(lambda what: console.print(f"{what} …", highlight=False))
            _say_how_to_reach(console, cluster)
            with world_of(cluster) as world:
                _show(console, cluster, world.observer, _stop_asked())
        except KeyboardInterrupt:
            _stop_asked()
        console.print("Stopping every process …", highlight=False)
        codes = cluster.stop()
    ends = ", ".join(f"{name} ({code})" for name, code in codes.items())
    console.print(f"All processes are stopped: {ends}", highlight=False)


def _stop_asked() -> threading.Event:
    """Set by SIGINT and SIGTERM, which from now on interrupt nothing.

    An exception at any place of the looks at the cluster could be lost in a library, or leave it in a state in
    which it cannot be closed. Stopping is bounded: a second signal, also the one that a launcher passes on,
    must not cut it short.
    """
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def _say_how_to_reach(console: Console, cluster: Cluster) -> None:
    layout, qkms = cluster.layout, _beside_python("qkms")
    console.print(f"operator:  {qkms} --profile {layout.profile} status", highlight=False, soft_wrap=True)
    for service in layout.services:
        profile = layout.service_profile(service)
        console.print(f"service:   {qkms} --profile {profile} keys list", highlight=False, soft_wrap=True)
    console.print(f"logs:      {layout.logs}\nCtrl-C stops every process.\n", highlight=False, soft_wrap=True)


def _beside_python(command: str) -> Path:
    """A command of this environment, as one types it here: it need not be on PATH."""
    path = Path(sys.executable).with_name(command)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _show(console: Console, cluster: Cluster, observer: Observer, stop: threading.Event) -> None:
    if not console.is_terminal:
        _show_changes(console, observer, stop)
        return
    title = f"qkms cluster in {cluster.layout.folder}, Ctrl-C stops it"
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not stop.is_set():
            live.update(render(look(observer), title), refresh=True)
            stop.wait(LOOK_EVERY_S)


def _show_changes(console: Console, observer: Observer, stop: threading.Event) -> None:
    known: set[str] = set()
    while not stop.is_set():
        now = lines(look(observer))
        for line in now:
            if line not in known:
                console.print(line, highlight=False, soft_wrap=True)
        known = set(now)
        stop.wait(LOOK_EVERY_S)


def look(observer: Observer) -> View:
    """One look at every node and its links, all asked at the same time."""
    with ThreadPoolExecutor(max_workers=len(observer.nodes)) as pool:
        links = pool.map(observer.links, observer.nodes)
        statuses = observer.statuses()
        return View(observer.nodes, statuses, dict(zip(observer.nodes, links, strict=True)))
