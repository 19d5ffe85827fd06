"""Alarms of a link over made-up looks: raised and cleared once each, with slack, and what they make of keys."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms_node.config_quantum import AlarmsSection
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity
from qkms_node.service.monitoring.alarms import Alarm
from qkms_node.service.monitoring.findings import Thresholds
from qkms_node.service.monitoring.history_file import FILE_NAME
from qkms_node.service.monitoring.look import Look
from qkms_node.service.monitoring.monitor import STEPS_KEPT, LinkMonitor

USUAL = 0.033
Step = tuple[AlarmKind, AlarmSeverity]
RISE, HIGH, DOWN = AlarmKind.QBER_RISE, AlarmKind.QBER_HIGH, AlarmKind.LINK_DOWN
STORE, SILENT, LOAD = AlarmKind.STORE_LOW, AlarmKind.KME_UNREACHABLE, AlarmKind.LINK_OVERLOADED
CLEARED, WARNING, MINOR = AlarmSeverity.CLEARED, AlarmSeverity.WARNING, AlarmSeverity.MINOR
MAJOR, CRITICAL = AlarmSeverity.MAJOR, AlarmSeverity.CRITICAL


@dataclass
class Watched:
    """A link to `peer`, looked at every two seconds."""

    alarms: AlarmsSection = field(default_factory=AlarmsSection)
    max_qber: float = 0.11
    min_store: int = 0
    folder: Path | None = None
    now_s: float = 1_000_000.0

    def __post_init__(self) -> None:
        self.monitor = LinkMonitor(Thresholds(self.alarms, self.max_qber, self.min_store), self.folder)

    def see(
        self,
        qber: float | None = USUAL,
        *,
        up: bool = True,
        stored: int = 900,
        skr: float = 1e4,
        problem: str = "",
    ) -> list[Step]:
        """One look; the steps it led to."""
        self.now_s += 2.0
        seen = len(self.monitor.steps)
        if problem:
            look = Look(self.now_s, problem=problem)
        else:
            look = Look(self.now_s, up=up, qber=qber, skr_bps=skr, stored=stored, capacity=1_000, key_bits=256)
        self.monitor.take("peer", look)
        return [(step.kind, step.severity) for step in self.monitor.steps[seen:]]

    def see_all(self, qbers: Iterable[float]) -> list[Step]:
        return [step for qber in qbers for step in self.see(qber)]


def learnt(**settings: object) -> Watched:
    """A link whose usual QBER is known."""
    watched = Watched(**settings)  # type: ignore[arg-type]
    assert watched.see_all([USUAL] * 10) == []
    assert watched.monitor.view("peer").baseline == pytest.approx(USUAL)
    return watched


def test_a_rise_is_raised_at_the_first_look_and_cleared_after_three_in_order() -> None:
    link = learnt()
    assert link.see(0.057) == [(RISE, MAJOR)]
    assert link.see_all([USUAL, USUAL]) == []
    assert link.monitor.view("peer").refusal is not None
    assert link.see(USUAL) == [(RISE, CLEARED)]
    assert link.monitor.view("peer").refusal is None


def test_a_value_that_trembles_around_a_threshold_makes_one_alarm() -> None:
    link = learnt()
    threshold = USUAL + link.alarms.qber_rise_major
    assert link.see_all([threshold + 0.001, threshold - 0.001] * 50) == [(RISE, MAJOR)]


def test_an_alarm_becomes_more_severe_at_once_and_less_so_after_three_looks() -> None:
    link = learnt()
    assert link.see(0.045) == [(RISE, WARNING)]
    assert link.see(0.09) == [(HIGH, MAJOR), (RISE, MAJOR)]
    assert link.see(0.12) == [(HIGH, CRITICAL)]
    assert link.see_all([0.09, 0.09, 0.09]) == [(HIGH, MAJOR)]
    assert link.see_all([USUAL] * 3) == [(HIGH, CLEARED), (RISE, CLEARED)]


def test_a_qber_that_is_no_number_is_critical() -> None:
    assert (HIGH, CRITICAL) in learnt().see(math.nan)


def test_what_is_usual_stands_still_while_an_alarm_is_raised() -> None:
    link = learnt()
    link.see_all([0.057] * 1_000)
    assert link.monitor.view("peer").baseline == pytest.approx(USUAL)


def test_what_is_usual_follows_an_ageing_detector_within_days() -> None:
    link = learnt()
    for _ in range(2 * 24 * 60):
        link.now_s += 58.0
        link.see(0.038)
    assert link.monitor.view("peer").baseline == pytest.approx(0.038, abs=0.001)


def test_a_baseline_that_is_set_judges_from_the_first_look() -> None:
    link = Watched(AlarmsSection(qber_baseline=USUAL))
    assert link.see(0.057) == [(RISE, MAJOR)]


def test_rises_may_be_reported_without_refusing_keys() -> None:
    link = learnt(alarms=AlarmsSection(on_qber_rise="report"))
    assert link.see(0.057) == [(RISE, MAJOR)]
    assert link.monitor.view("peer").refusal is None
    assert not link.monitor.view("peer").is_suspect(link.now_s, link.now_s)


def test_a_kme_that_is_slow_once_is_no_alarm() -> None:
    link = learnt()
    for _ in range(5):
        assert link.see(problem="KME_UNREACHABLE") == []
        assert link.see() == []
    assert link.see(problem="KME_UNREACHABLE") + link.see(problem="KME_UNREACHABLE") == [(SILENT, MAJOR)]
    assert link.see() + link.see() + link.see() == [(SILENT, CLEARED)]


def test_an_alarm_of_what_is_not_told_stays() -> None:
    link = learnt()
    link.see(0.057)
    for _ in range(10):
        link.see(None)
    assert [alarm.kind for alarm in link.monitor.raised] == [RISE]


def test_a_cut_link_is_down_after_two_looks() -> None:
    link = learnt()
    assert link.see(None, up=False) + link.see(None, up=False) == [(DOWN, MAJOR)]


@pytest.mark.parametrize(
    ("stored", "severity"), [(1_000, None), (260, None), (240, WARNING), (90, MINOR), (5, MAJOR), (0, MAJOR)]
)
def test_the_store_is_low_by_its_fill_and_by_what_is_left_for_others(
    stored: int, severity: AlarmSeverity | None
) -> None:
    link = learnt(min_store=5)
    steps = link.see(stored=stored) + link.see(stored=stored)
    assert [step for step in steps if step[0] is STORE] == ([(STORE, severity)] if severity else [])


def test_keys_distilled_between_the_last_look_in_order_and_the_clearing_are_in_doubt() -> None:
    link = learnt()
    in_order_s = link.now_s
    link.see(0.057)
    link.see_all([0.057] * 5 + [USUAL] * 3)
    view = link.monitor.view("peer")
    assert view.refusal is None
    assert not view.is_suspect(in_order_s - 0.1, in_order_s - 0.1)
    assert view.is_suspect(in_order_s + 0.1, in_order_s + 0.1), "the block that was open when she came"
    assert view.is_suspect(link.now_s - 0.1, link.now_s - 0.1), "the block that was open when she left"
    assert not view.is_suspect(link.now_s + 0.1, link.now_s + 0.1)


def test_consumption_trend_and_exhaustion_are_measured() -> None:
    link = learnt()
    view = link.monitor.view("peer")
    for stored in range(890, 600, -10):
        view.use(link.now_s + 1.0, 256 * 15, drawn=True)
        link.see(stored=stored, skr=640.0)
    measured = view.figures
    assert measured.consumption_bps == pytest.approx(256 * 15 / 2, rel=0.3)
    assert measured.eskr_bps == pytest.approx(256 * 5 / 2, rel=0.05), "what came in: 15 drawn, 10 fewer in store"
    assert measured.exhaustion_s == pytest.approx(link.now_s + 610 / 5, rel=0.01)
    assert (LOAD, WARNING) in [(step.kind, step.severity) for step in link.monitor.steps]


def test_a_full_store_says_nothing_of_what_could_come_in() -> None:
    link = learnt()
    link.see(stored=1_000)
    assert link.monitor.view("peer").figures.eskr_bps is None


def test_the_history_outlives_a_restart_and_the_eavesdropper_does_not_become_usual(tmp_path: Path) -> None:
    link = learnt(folder=tmp_path)
    link.see(0.057)
    began_s = link.now_s
    again = Watched(folder=tmp_path, now_s=link.now_s + 60)
    assert again.see(0.057) == [], "it is raised already"
    view = again.monitor.view("peer")
    assert view.baseline == pytest.approx(USUAL)
    assert view.refusal is not None
    assert view.is_suspect(began_s, began_s)
    assert again.see_all([USUAL] * 3) == [(RISE, CLEARED)]
    assert [step.severity for step in again.monitor.steps] == [MAJOR, CLEARED]
    assert len(list(view.samples())) > 4


def test_a_history_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\x93not a history")
    link = learnt(folder=tmp_path)
    assert link.see(0.057) == [(RISE, MAJOR)]
    assert [s.severity for s in Watched(folder=tmp_path).monitor.steps] == [MAJOR]


def test_a_link_that_is_given_up_raises_nothing_any_more() -> None:
    link = learnt()
    link.see(0.057)
    link.monitor.forget("peer", link.now_s)
    assert link.monitor.raised == []
    assert link.monitor.steps[-1].severity is CLEARED


LOOKS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(0, 0.5), st.just(math.nan)),
        st.booleans(),
        st.integers(0, 1_000),
        st.booleans(),
    ),
    max_size=80,
)


@given(LOOKS)
def test_whatever_is_seen_the_steps_say_what_is_raised(
    looks: list[tuple[float | None, bool, int, bool]],
) -> None:
    link = Watched()
    raised: dict[AlarmKind, Alarm] = {}
    for qber, up, stored, silent in looks:
        seen = len(link.monitor.steps)
        link.see(qber, up=up, stored=stored, problem="KME_UNREACHABLE" if silent else "")
        for step in link.monitor.steps[seen:] if seen < STEPS_KEPT else ():
            known = raised.pop(step.kind, None)
            assert step.severity is not (known.severity if known else CLEARED), "no step that changes nothing"
            if step.severity is not CLEARED:
                raised[step.kind] = step
        assert {a.kind: a.severity for a in link.monitor.raised} == {k: a.severity for k, a in raised.items()}


def test_the_qber_of_a_key_is_that_of_the_looks_about_the_time_it_was_distilled() -> None:
    link = Watched()
    times = []
    for qber in (0.010, 0.030, 0.020, None, 0.015):
        link.see(qber)
        times.append(link.now_s)
    view = link.monitor.view("peer")
    first, second, third, _, last = times
    assert view.worst_qber(first + 0.1, first + 0.2) == 0.030, "the block ended between two looks"
    assert view.worst_qber(third + 0.1, third + 0.2) == 0.020, "a look that tells none is none"
    assert view.worst_qber(last + 0.1, last + 0.2) == 0.015
    assert view.worst_qber(first - 10, first - 5) == 0.010
    assert view.worst_qber(first, last) == view.worst_qber(-inf, inf) == 0.030
    assert view.worst_qber(second, second) == 0.030
    assert Watched().monitor.view("peer").worst_qber(-inf, inf) is None


@pytest.mark.parametrize("qber", [nan, -0.1, 1.5])
def test_a_qber_that_is_no_fraction_is_the_worst(qber: float) -> None:
    link = Watched()
    link.see_all([0.01, qber, 0.01])
    assert link.monitor.view("peer").worst_qber(-inf, inf) == 1
