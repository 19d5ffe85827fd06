"""The snapshot benchmark: its ledger, its gauge, its report, and all of it once, small, on real processes."""

import io
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from processes import at_work_on
from qkms_chaos.bench import snapshots
from qkms_chaos.bench.figures import Latencies, latencies_of
from qkms_chaos.bench.ledger_fill import count, filled
from qkms_chaos.bench.machine import memory
from qkms_chaos.bench.rounds import Gap, Gaps, RoundGauge, gaps_of
from qkms_chaos.bench.snapshot_report import Held, Phase, SnapshotResult, goals, show
from qkms_chaos.bench.snapshots import bench_snapshots


def test_the_ledger_holds_some_of_everything_and_nothing_is_due() -> None:
    now_ms = 10**12
    state = filled(5000, now_ms)
    assert 5000 <= count(state) < 8000
    for held in (state.keys, state.versions, state.sessions, state.requests, state.events, state.due):
        assert len(held) > 100
    assert state.due[0][0] > now_ms
    assert filled(5000, now_ms) == state


def test_gaps_are_of_the_span_and_waits_are_taken_off() -> None:
    seen = [Gap(1.0, 0.5, 0, 0), Gap(2.0, 0.2, 0.15, 0), Gap(3.0, 0.1, 0.01, 0.06), Gap(4.0, 0.9, 0, 0)]
    assert asdict(gaps_of(seen, 1.5, 3.0)) == pytest.approx(asdict(Gaps(2, 200, 200, 50, 60)))
    assert asdict(gaps_of(seen, 0.6, 0.7)) == pytest.approx(asdict(Gaps(1, 500, 500, 500, 0)))
    with pytest.raises(ValueError, match="no values"):
        gaps_of(seen, 5, 6)


def test_the_gauge_sees_a_round_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, getattr(os, name))  # the gauge replaces them
    waiting: list[object] = []
    gauge = RoundGauge(waiting.append)
    gauge.start()
    assert len(gauge.so_far()) == 1  # no round has ended: it is the time until now
    for pause_s in (0.01, 0.15, 0.01):
        time.sleep(pause_s)
        while waiting:
            waiting.pop()(None)  # type: ignore[operator]
    gauge.stop()
    assert max(gap.length for gap in gauge.seen) >= 0.15


def test_this_process_has_memory() -> None:
    held = memory("self")
    assert 1 << 20 < held.resident_bytes <= held.peak_bytes


def test_a_gap_over_the_bound_is_a_goal_missed_and_shown() -> None:
    result = SnapshotResult("qkms-chaos bench-snapshots", {"load": "0.1"}, records=1_000_000)
    result.phases = [
        Phase("while quiet", 10, Gaps(5000, 2, 80, 50, 60), latencies_of([0.001, 0.002])),
        Phase("while installed", 10, Gaps(5000, 2, 51, 50.1, 0), None),
    ]
    result.held = [Held("receiver", 100 << 20, 150 << 20, 120 << 20)]
    result.notes = ["leadership changed"]
    assert [goal.met for goal in goals(result)] == [True, False]
    console = Console(width=140, record=True, file=io.StringIO())
    show(console, result)
    shown = console.export_text()
    for text in ("1,000,000", "while quiet", "over 50", "50%", "leadership changed", "load: 0.1"):
        assert text in shown


@pytest.mark.cluster
@pytest.mark.soak
def test_measures_every_phase_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "QUIET_S", 0.3)
    monkeypatch.setattr(snapshots, "DIGEST_EVERY_S", 0.01)
    result = bench_snapshots(Console(quiet=True), 2000, tmp_path)
    assert len(result.phases) == 10
    assert all(phase.gaps.rounds > 0 for phase in result.phases)
    loaded = [phase.commits for phase in result.phases if "receiver, while" not in phase.what]
    assert all(isinstance(commits, Latencies) and commits.count > 0 for commits in loaded)
    assert [held.what for held in result.held][-1] == "older receiver"
    assert result.size_bytes > 100_000
    assert list(tmp_path.iterdir()) == []
    assert at_work_on(tmp_path) == []
