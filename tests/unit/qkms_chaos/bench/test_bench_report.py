"""Ratios, goals and what a result is shown as."""

import io

from rich.console import Console

from qkms_chaos.bench.figures import Load, Spread
from qkms_chaos.bench.measurements import Recovery
from qkms_chaos.bench.report import Result, goals, ratios, show


def load(per_s: float, p99_ms: float = 5) -> Load:
    return Load(per_s, 1, 2, p99_ms)


def result_of(writes: dict[int, Load], etcd: dict[int, Load]) -> Result:
    return Result("qkms-chaos bench-consensus", {}, {}, writes=writes, etcd=etcd)


def test_ratios_are_of_what_both_measured() -> None:
    assert ratios({1: load(300), 64: load(900)}, {64: load(300), 1000: load(1)}) == {64: 3}


def test_a_goal_is_met_at_its_bound_and_missed_beyond_it() -> None:
    met = result_of({1: load(100), 64: load(200, p99_ms=10)}, {1: load(100), 64: load(100)})
    missed = result_of({1: load(99), 64: load(199, p99_ms=10.1)}, {1: load(100), 64: load(100)})
    assert [goal.met for goal in goals(met)] == [True] * 3
    assert [goal.met for goal in goals(missed)] == [False] * 3


def test_goals_of_the_other_figures() -> None:
    result = result_of({}, {})
    result.reads = {64: load(19_000), 1000: load(20_000)}
    result.failover = Spread(20, 100, 601, 700)
    result.idle_cpu_percent = [1.0, 2.1, 0.5]
    assert [(goal.name, goal.met) for goal in goals(result)] == [
        ("read barriers", True),
        ("failover p95", False),
        ("idle CPU of a node", False),
    ]


def test_what_was_not_measured_is_not_judged() -> None:
    assert goals(result_of({1: load(1)}, {})) == []


def test_everything_measured_is_shown() -> None:
    result = result_of({64: load(20_000)}, {64: load(8_000)})
    result.recovery = [Recovery(10, 0.5, 1.5)]
    result.notes = ["something was left out"]
    console = Console(width=120, record=True, file=io.StringIO())
    show(console, result)
    shown = console.export_text()
    for text in ("20,000", "8,000", "2.50", "10 MiB: 1.5 s", "something was left out", "qkms-chaos bench"):
        assert text in shown
