"""`qkms-chaos run` begins on a fresh cluster or not at all."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from qkms_chaos.scenarios.command import run_command


@pytest.mark.parametrize("name", ["mixed", "backlog-catch-up"])
def test_a_folder_that_holds_a_run_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "history.jsonl").write_text("an older run")
    done = CliRunner().invoke(run_command, [name, "--dir", str(tmp_path)])
    assert done.exit_code not in (0, 3, 4)
    assert "holds a run already" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster", "history.jsonl"]
