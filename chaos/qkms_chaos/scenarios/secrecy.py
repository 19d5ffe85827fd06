"""No secret of a run is in what the run leaves: data folders, logs, core files, and the run's own files.

Looked for are the canaries that were made before the load, and material of the load's keys. Ordering: it looks
once everything else that the run writes is there.
"""

from collections.abc import Iterable
from pathlib import Path

from qkms_chaos.canary import Hit, search, search_tree
from qkms_chaos.checking.judgement import Judgement
from qkms_chaos.workload.canaries import Canaries

NAME = "no secret is in any file in clear"
LABEL = "the label"


def nothing_leaked(folder: Path, canaries: Canaries, nodes: Iterable[str], since_s: float) -> Judgement:
    """Looks at all that a run left in `folder`, and at core files since `since_s` (time.time).

    Undecided when a node's folder in `folder`/cluster does not show the label, which is in its ledger: nothing
    else would have been seen there either.
    """
    hits = search_tree(folder, canaries.secrets | {LABEL: canaries.label.encode()})
    cores = [path for path in core_files(Path.cwd()) if path.stat().st_mtime >= since_s]
    for core in cores:
        hits += search(core.read_bytes(), canaries.secrets, str(core))
    seen = {hit.where.split("/")[1] for hit in hits if hit.canary == LABEL and hit.where.startswith("cluster/")}
    blind = [node for node in nodes if node not in seen]
    return Judgement(
        NAME,
        [_words(hit) for hit in hits if hit.canary != LABEL],
        f"the search did not see the ledgers of {', '.join(blind)}" if blind else "",
    )


def core_files(folder: Path) -> list[Path]:
    """What processes that died in `folder` have left there, by the kernel's usual patterns."""
    return [path for path in sorted((*folder.glob("core"), *folder.glob("core.*"))) if path.is_file()]


def _words(hit: Hit) -> str:
    return f"{hit.canary} is in {hit.where} ({hit.form})"
