"""How severe each thing is that a look shows of a link. Pure.

A threshold that was crossed is crossed back only with some slack: a value that
trembles around a threshold stays on one side of it. What a look does not tell is
not judged; an alarm about it stays as it is.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qkms_node.config_quantum import AlarmsSection
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity
from qkms_node.service.monitoring.figures import Figures
from qkms_node.service.monitoring.look import Look

CLEARED, WARNING, MINOR = AlarmSeverity.CLEARED, AlarmSeverity.WARNING, AlarmSeverity.MINOR
MAJOR, CRITICAL = AlarmSeverity.MAJOR, AlarmSeverity.CRITICAL

Held = Mapping[AlarmKind, AlarmSeverity]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing judged: how severe, and the cause in words."""

    kind: AlarmKind
    severity: AlarmSeverity
    cause: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Those of [qkd.alarms], and the two at which keys are refused."""

    alarms: AlarmsSection
    max_qber: float
    min_store: int


def findings(
    look: Look, seen: Figures, baseline: float | None, thresholds: Thresholds, held: Held
) -> Iterator[Finding]:
    """What a look shows, while the alarms in `held` are raised."""
    if look.problem:
        yield Finding(AlarmKind.KME_UNREACHABLE, MAJOR, f"the KME gives no status of the link [{look.problem}]")
        return
    yield Finding(AlarmKind.KME_UNREACHABLE, CLEARED, "the KME gives the status of the link")
    if look.up is not None:
        word = "up" if look.up else "down"
        yield Finding(AlarmKind.LINK_DOWN, CLEARED if look.up else MAJOR, f"the KME says that the link is {word}")
    if look.qber is not None:
        yield _qber_high(look.qber, thresholds, held)
        if baseline is not None:
            yield _qber_rise(look.qber, baseline, thresholds, held)
    if look.stored is not None:
        yield _store_low(look, look.stored, thresholds, held)
    if look.skr_bps is not None and seen.consumption_bps is not None:
        yield _overloaded(look.skr_bps, seen.consumption_bps, seen.falling)


def _qber_high(qber: float, thresholds: Thresholds, held: Held) -> Finding:
    levels = ((CRITICAL, thresholds.max_qber), (MAJOR, thresholds.alarms.qber_major))
    severity = _over(qber, levels, held.get(AlarmKind.QBER_HIGH, CLEARED), thresholds.alarms.qber_slack)
    return Finding(
        AlarmKind.QBER_HIGH, severity, f"the QBER is {qber:.2%}, keys are refused over {thresholds.max_qber:.2%}"
    )


def _qber_rise(qber: float, baseline: float, thresholds: Thresholds, held: Held) -> Finding:
    alarms = thresholds.alarms
    levels = ((MAJOR, alarms.qber_rise_major), (WARNING, alarms.qber_rise_warning))
    severity = _over(qber - baseline, levels, held.get(AlarmKind.QBER_RISE, CLEARED), alarms.qber_rise_slack)
    cause = f"the QBER is {qber:.2%}, on this link it is usually {baseline:.2%}"
    return Finding(AlarmKind.QBER_RISE, severity, cause)


def _store_low(look: Look, stored: int, thresholds: Thresholds, held: Held) -> Finding:
    kept = f", {thresholds.min_store} are not drawn" if thresholds.min_store else ""
    cause = f"{stored} keys are in store{kept}"
    if stored <= thresholds.min_store:
        return Finding(AlarmKind.STORE_LOW, MAJOR, cause)
    severity = CLEARED
    if look.fill is not None:
        levels = ((MINOR, 1 - thresholds.alarms.store_minor), (WARNING, 1 - thresholds.alarms.store_warning))
        now = held.get(AlarmKind.STORE_LOW, CLEARED)
        severity = _over(1 - look.fill, levels, now, thresholds.alarms.store_slack)
        cause += f", {look.fill:.0%} of what it holds"
    return Finding(AlarmKind.STORE_LOW, severity, cause)


def _overloaded(skr_bps: float, consumption_bps: float, falling: bool) -> Finding:
    severity = WARNING if falling and consumption_bps > skr_bps else CLEARED
    cause = f"{consumption_bps:.4g} bit/s are drawn here, {skr_bps:.4g} bit/s come in"
    return Finding(AlarmKind.LINK_OVERLOADED, severity, cause)


def _over(
    value: float, levels: tuple[tuple[AlarmSeverity, float], ...], held: AlarmSeverity, slack: float
) -> AlarmSeverity:
    """The first of the levels, most severe first, whose threshold the value is over; NaN is over each."""
    if math.isnan(value):
        return levels[0][0]
    for severity, threshold in levels:
        if value > threshold - (slack if held >= severity else 0.0):
            return severity
    return CLEARED
