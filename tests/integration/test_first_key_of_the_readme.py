"""The README's first block of Python runs as it stands, against a cluster where `make up` puts it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qkms_chaos.cluster.world import World

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.cluster
def test_the_readme_runs(healthy: World, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    code = blocks[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "cluster").symlink_to(healthy.cluster.layout.folder)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "attack at dawn" in done.stdout
