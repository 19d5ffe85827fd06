"""`qkms-chaos check` says what it found by its exit status, and each breach in words."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from histories import KEY, busy_key
from qkms_chaos.__main__ import main
from qkms_chaos.checking.history import Op, Outcome, Recorder, Value


def look(primary: int) -> Op:
    answer: dict[str, Value] = {"primary": primary, "level": "linearizable", "staleness_ms": 0.0}
    return Op("end@node-1", "get", KEY, 1e6, 1e6 + 1, Outcome.OK, {"level": "linearizable"}, answer, "", "node-1")


def written(folder: Path, primary: int | None = 1) -> str:
    path = folder / "history.jsonl"
    with Recorder(path) as recorder:
        recorder.add(busy_key(1, 1, 1, 0.0)[0])
        if primary is not None:
            recorder.add(look(primary))
    return str(path)


@pytest.mark.parametrize(
    ("primary", "status", "said"), [(1, 0, "held"), (2, 1, "broken (1)"), (None, 4, "undecided")]
)
def test_the_exit_status_is_the_verdict(tmp_path: Path, primary: int | None, status: int, said: str) -> None:
    done = CliRunner().invoke(main, ["check", written(tmp_path, primary)])
    assert done.exit_code == status, done.output
    assert said in done.output


def test_breaches_are_in_the_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["check", "--json", written(tmp_path, 2)])
    assert done.exit_code == 1
    said = json.loads(done.output)
    [breach] = said["invariants"]["operations are linearizable"]["breaches"]
    assert "primary=2" in breach
    assert said["operations"] == 2


def test_a_small_budget_leaves_the_order_undecided(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with Recorder(path) as recorder:
        for one in busy_key(1, 50, 4, 0.0):
            recorder.add(one)
    done = CliRunner().invoke(main, ["check", "--json", "--budget", "1", str(path)])
    assert "no order was found in 1 configurations" in done.output


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("nonsense\n")
    done = CliRunner().invoke(main, ["check", str(path)])
    assert done.exit_code == 2
    assert "HISTORY_INVALID: line 1" in done.output
