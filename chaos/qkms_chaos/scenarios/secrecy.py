"""No secret of a run is in what it leaves or sends: data folders, logs, core files, the run's own files, Raft.

Looked for are the canaries that were made before the load, and material of the load's keys; Raft traffic is kept
while the canaries are made, which is when they pass. Ordering: it looks once everything else that the run writes
is there.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from qkms_chaos.canary import Hit, search, search_tree
from qkms_chaos.capture import Capture, CaptureNotAllowedError
from qkms_chaos.checking.judgement import Judgement
from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.world import World
from qkms_chaos.scenarios.verdict import Verdict
from qkms_chaos.workload.canaries import CANARY_KEY, Canaries, make_canaries

NAME = "no secret is in any file or in Raft traffic in clear"
FIGURE = "Raft traffic searched, bytes"
TRAFFIC = "raft-traffic"
LABEL = "the label"


@dataclass
class Planted:
    """Canaries, and how many bytes of Raft traffic were kept meanwhile; None: none could be, see `unseen`."""

    canaries: Canaries
    traffic: int | None = None
    unseen: str = ""


def plant(folder: Path, layout: Layout, world: World) -> Planted:
    """Makes the canaries in a cluster, and keeps in `folder` what its nodes send each other. Raises QkmsError."""
    capture = Capture([site.raft_port for site in layout.sites], folder / TRAFFIC)
    with ExitStack() as stack:
        try:
            stack.enter_context(capture)
        except CaptureNotAllowedError as error:
            return Planted(make_canaries(world, CANARY_KEY), unseen=str(error))
        canaries = make_canaries(world, CANARY_KEY)
    return Planted(canaries, capture.octets)


def with_secrecy(
    verdict: Verdict, folder: Path, planted: Planted, nodes: Iterable[str], since_s: float
) -> Verdict:
    """The same verdict, and what was found of secrets in `folder` and core files since `since_s` (Unix time)."""
    searched = planted.unseen if planted.traffic is None else planted.traffic
    more = nothing_leaked(folder, planted, nodes, since_s)
    return replace(verdict.also(more), figures={**verdict.figures, FIGURE: searched})


def nothing_leaked(folder: Path, planted: Planted, nodes: Iterable[str], since_s: float) -> Judgement:
    """Looks at all that a run left in `folder`.

    Undecided when a node's folder in `folder`/cluster does not show the label, which is in its ledger: nothing
    else would have been seen there either. Raft traffic must not show it: it travels between nodes in an entry.
    """
    canaries = planted.canaries
    hits = search_tree(folder, canaries.secrets | {LABEL: canaries.label.encode()})
    cores = [path for path in core_files(Path.cwd()) if path.stat().st_mtime >= since_s]
    for core in cores:
        hits += search(core.read_bytes(), canaries.secrets, str(core))
    seen = {hit.where.split("/")[1] for hit in hits if hit.canary == LABEL and hit.where.startswith("cluster/")}
    blind = [f"the ledger of {node}" for node in nodes if node not in seen]
    blind += ["any Raft traffic"] if planted.traffic == 0 else []
    return Judgement(
        NAME,
        [_words(hit) for hit in hits if hit.canary != LABEL or hit.where.startswith(f"{TRAFFIC}/")],
        f"the search did not see {', '.join(blind)}" if blind else "",
    )


def core_files(folder: Path) -> list[Path]:
    """What processes that died in `folder` have left there, by the kernel's usual patterns."""
    return [path for path in sorted((*folder.glob("core"), *folder.glob("core.*"))) if path.is_file()]


def _words(hit: Hit) -> str:
    return f"{hit.canary} is in {hit.where} ({hit.form})"
