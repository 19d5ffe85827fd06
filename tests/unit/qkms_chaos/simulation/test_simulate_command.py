"""`qkms-chaos simulate`: exit status, the table, and how a failing seed is shortened and explained."""

import pytest
from click.testing import CliRunner

from qkms_chaos.__main__ import main
from qkms_chaos.simulation import command
from qkms_chaos.simulation.campaign import Tally
from qkms_chaos.simulation.run import Outcome, Task, run
from qkms_chaos.simulation.shrink import shrink
from qkms_chaos.simulation.stock import STOCK


def _run_stock(task: Task, *, trace: bool = False) -> Outcome:
    return run(task, STOCK, trace=trace)


def _failing() -> Outcome:
    outcomes = (_run_stock(Task("snapshots", 3, seed)) for seed in range(40))
    return next(outcome for outcome in outcomes if outcome.violation is not None)


def test_seeds_that_hold_end_with_status_0() -> None:
    result = CliRunner().invoke(main, ["simulate", "--profile", "pause", "--seeds", "5:7", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "pause" in result.output


def test_one_run_is_told_step_by_step() -> None:
    result = CliRunner().invoke(main, ["simulate", "--profile", "kill", "--seeds", "1", "--timeline"])
    assert result.exit_code == 0, result.output
    assert "leading term 1" in result.output
    assert "no breach" in result.output


def test_a_run_can_be_cut_short() -> None:
    result = CliRunner().invoke(
        main, ["simulate", "--profile", "kill", "--seeds", "1", "--timeline", "--steps", "50"]
    )
    assert result.exit_code == 0, result.output
    assert "no breach in 50 steps" in result.output


def test_a_breach_is_shortened_and_explained_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = _failing()
    tally = Tally()
    tally.add(failed)
    monkeypatch.setattr(command, "run", _run_stock)
    monkeypatch.setattr(command, "run_all", lambda *_: {"snapshots": tally})
    result = CliRunner().invoke(main, ["simulate", "--profile", "snapshots", "--seeds", str(failed.task.seed)])
    assert result.exit_code == 1
    assert failed.violation is not None
    assert failed.violation.oracle in result.output
    assert f"--seeds {failed.task.seed}:{failed.task.seed + 1} --only " in result.output


def test_what_is_left_after_shortening_is_needed() -> None:
    failed = _failing()
    short = shrink(failed, _run_stock)
    assert failed.violation is not None
    assert short.violation is not None
    assert short.violation.oracle == failed.violation.oracle
    assert len(short.faults) < len(failed.faults)
    for left_out in {fault.episode for fault in short.faults}:
        only = tuple(sorted({fault.episode for fault in short.faults} - {left_out}))
        violation = _run_stock(Task("snapshots", 3, failed.task.seed, only)).violation
        assert violation is None or violation.oracle != failed.violation.oracle


@pytest.mark.parametrize("seeds", ["x", "5:5", "3:x"])
def test_seeds_that_make_no_sense_are_refused(seeds: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "--seeds", seeds])
    assert result.exit_code == 2
    assert "seed" in result.output
