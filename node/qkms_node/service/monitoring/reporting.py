"""Tells the cluster of this node's link alarms that change what keys get: major and critical ones of what serves.

The ledger has what was reported last, so that a node that restarts, or could not
report, sees the difference and makes it good. What was cleared is told at once,
but an alarm is raised again only `PAUSE_S` after its last report: however quickly
a link comes and goes, the ledger grows slowly.
"""

from collections.abc import Callable

from qkms_node.ledger.commands import ReportLinkAlarm
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.service.proposing import Proposer
from qkms_node.service.store import LedgerStore

PAUSE_S = 5.0

_Place = tuple[str, AlarmKind]


class AlarmReporter:
    """Brings the ledger's alarms of this node in line with the monitor's."""

    def __init__(
        self,
        node_id: str,
        monitor: LinkMonitor,
        store: LedgerStore,
        proposer: Proposer,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._node_id = node_id
        self._monitor = monitor
        self._store = store
        self._proposer = proposer
        self._monotonic_s = monotonic_s
        self._reported_s: dict[_Place, float] = {}

    async def step(self) -> None:
        """Reports each difference that may be reported by now. Raises QkmsError."""
        # Least severe first: of several KMEs, none of which serves, the worst is told.
        found = reversed(self._monitor.raised_in_use)
        raised = {(a.peer, a.kind): a.severity for a in found if a.severity >= AlarmSeverity.MAJOR}
        with self._store.view() as state:
            known = {
                (a.peer_node_id, a.kind): a.severity
                for a in state.link_alarms.values()
                if a.node_id == self._node_id
            }
        for place in sorted(raised.keys() | known.keys()):
            severity = raised.get(place, AlarmSeverity.CLEARED)
            differs = severity is not known.get(place, AlarmSeverity.CLEARED)
            if differs and (severity is AlarmSeverity.CLEARED or self._may_raise(place)):
                await self._proposer.effect(ReportLinkAlarm(self._node_id, *place, severity))
                self._reported_s[place] = self._monotonic_s()

    def _may_raise(self, place: _Place) -> bool:
        reported_s = self._reported_s.get(place)
        return reported_s is None or self._monotonic_s() - reported_s >= PAUSE_S
