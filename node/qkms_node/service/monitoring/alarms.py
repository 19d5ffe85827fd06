"""The alarms of one link: raised, made more or less severe, cleared. Pure.

An alarm of the QBER is raised at the first look that shows it; one of anything
else after `raise_after` looks in a row, for a KME that was slow once is no
alarm. More severe it becomes at once; less severe, or cleared, when
`clear_after` looks in a row have shown no more than that.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity
from qkms_node.service.monitoring.findings import CLEARED, Finding

AT_ONCE = frozenset({AlarmKind.QBER_HIGH, AlarmKind.QBER_RISE})


class Alarm(msgspec.Struct, frozen=True):
    """An alarm that is raised, or in the history one of its steps. Times in Unix seconds. `kme`: of which link."""

    peer: str
    kind: AlarmKind
    severity: AlarmSeverity
    raise_s: float
    change_s: float
    cause: str
    kme: str = ""


@dataclass(slots=True)
class _Count:
    """How many looks in a row have shown something else than what is raised, and the worst of it."""

    looks: int = 0
    worst: AlarmSeverity = CLEARED


class Alarms:
    """Which alarms of the link to `peer` by `kme` are raised; `raised` is replaced and never changed in place."""

    def __init__(
        self, peer: str, raise_after: int, clear_after: int, raised: Iterable[Alarm] = (), kme: str = ""
    ) -> None:
        self._peer = peer
        self._kme = kme
        self._raise_after = raise_after
        self._clear_after = clear_after
        self._counts: dict[AlarmKind, _Count] = {}
        self.raised: dict[AlarmKind, Alarm] = {alarm.kind: alarm for alarm in raised}

    @property
    def held(self) -> dict[AlarmKind, AlarmSeverity]:
        """The severity of each alarm that is raised."""
        return {kind: alarm.severity for kind, alarm in self.raised.items()}

    def take(self, found: Iterable[Finding], time_s: float) -> list[Alarm]:
        """The steps that a look leads to: each an alarm as it is from now on, cleared ones with CLEARED."""
        return [step for finding in found if (step := self._take(finding, time_s)) is not None]

    def _take(self, finding: Finding, time_s: float) -> Alarm | None:
        now = self.raised.get(finding.kind)
        held = now.severity if now is not None else CLEARED
        count = self._counts.setdefault(finding.kind, _Count())
        if finding.severity == held:
            self._counts[finding.kind] = _Count()
            return None
        if finding.severity > held:
            if now is None and not self._is_sure(finding.kind, count):
                return None
            severity = finding.severity
        else:
            count.looks += 1
            count.worst = max(count.worst, finding.severity)
            if count.looks < self._clear_after:
                return None
            severity = count.worst
        self._counts[finding.kind] = _Count()
        return self._step(now, finding, severity, time_s)

    def _is_sure(self, kind: AlarmKind, count: _Count) -> bool:
        count.looks += 1
        return kind in AT_ONCE or count.looks >= self._raise_after

    def _step(self, now: Alarm | None, finding: Finding, severity: AlarmSeverity, time_s: float) -> Alarm:
        raise_s = now.raise_s if now is not None else time_s
        step = Alarm(self._peer, finding.kind, severity, raise_s, time_s, finding.cause, self._kme)
        others = {kind: alarm for kind, alarm in self.raised.items() if kind is not finding.kind}
        self.raised = others if severity is CLEARED else {**others, finding.kind: step}
        return step
