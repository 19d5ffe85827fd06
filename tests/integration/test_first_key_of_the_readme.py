"""The README's first key, in Python and from the shell, runs as it stands where `make up` puts the cluster."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qkms_chaos.cluster.world import World

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language: str, after: str) -> list[str]:
    """The README's blocks of a language after some words."""
    text = README.read_text().partition(after)[2]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def checkout(healthy: World, tmp_path: Path) -> Path:
    """A folder in which var/cluster is the running cluster and .venv this environment."""
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "cluster").symlink_to(healthy.cluster.layout.folder)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def run(checkout: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.cluster
def test_in_ten_lines_of_python_and_then_from_the_shell(checkout: Path) -> None:
    python = blocks("python", after="# qkms")[0]
    assert len([line for line in python.splitlines() if line.strip()]) <= 10
    assert "attack at dawn" in run(checkout, sys.executable, "-W", "error", "-c", python)
    shell = blocks("sh", after="The same from the shell")[0]
    said = run(checkout, "bash", "-euo", "pipefail", "-c", shell)
    assert "node-1" in said
    assert said.endswith("secret")
