"""`qkms-chaos planted`: plants each bug into a copy of this checkout and sees whether its scenario finds it.

The copy is of the packages alone; a run of it has them first on PYTHONPATH, for itself and for the nodes that it
starts. Exit status 1 when a bug was not found.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from qkms_chaos.planted.bugs import BUGS, Edit, Planted

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("proto/qkms", "node/qkms_node", "qkd_adapter/qkms_qkd", "client/qkms_client", "chaos/qkms_chaos")
BROKEN = 1
TIMEOUT_S = 600.0


class PlantFailed(Exception):
    """The text to replace is not there exactly once: the product has changed, plant the bug anew."""

    code = "PLANT_FAILED"


def planted_text(edit: Edit) -> str:
    """The file of the product as edited. Raises PlantFailed."""
    text = (ROOT / edit.file).read_text()
    if text.count(edit.old) != 1:
        raise PlantFailed(f"{edit.file} has the text to replace {text.count(edit.old)} times, not once")
    return text.replace(edit.old, edit.new)


def plant(bug: Planted, folder: Path) -> list[Path]:
    """Copies the packages to `folder` and plants the bug; what PYTHONPATH is to begin with. Raises PlantFailed."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in bug.edits:
        (folder / edit.file).write_text(planted_text(edit))
    return [folder / package.partition("/")[0] for package in PACKAGES]


def found(bug: Planted, folder: Path) -> tuple[bool, str]:
    """Whether the scenario breaks on the copy with the bug, and the first breach. Raises PlantFailed."""
    first = plant(bug, folder)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(path) for path in first),
        "QKMS_TOXIPROXY": os.environ.get("QKMS_TOXIPROXY", str(ROOT / ".tools" / "bin" / "toxiproxy-server")),
    }
    command = [sys.executable, "-m", "qkms_chaos", "run", bug.scenario, "--seed", str(bug.seed)]
    command += ["--seconds", str(bug.seconds)] if bug.seconds else []
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return False, f"it had not ended after {TIMEOUT_S:g} s"
    said = [line.strip() for line in done.stdout.splitlines() if "breach:" in line]
    return done.returncode == BROKEN and bool(said), said[0] if said else done.stderr.strip()[-200:]


@click.command("planted")
@click.argument("names", nargs=-1, type=click.Choice(list(BUGS)))
def planted_command(names: tuple[str, ...]) -> None:
    """Plant known bugs into a copy and require their scenarios to find them. Without NAMES: every one.

    \b
    example:  qkms-chaos planted no-dedupe
    """
    console = Console()
    missed = 0
    for name in names or BUGS:
        bug = BUGS[name]
        with tempfile.TemporaryDirectory(prefix="qkms-planted-") as folder:
            caught, said = found(bug, Path(folder))
        missed += not caught
        console.print(
            f"{name}: {'found' if caught else 'NOT FOUND'} by {bug.scenario} --seed {bug.seed}: {said}",
            style="green" if caught else "bold red",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    sys.exit(1 if missed else 0)
