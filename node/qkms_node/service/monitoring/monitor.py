"""What this node knows of its links beyond the last look, and the history of it.

Kept: every look of the last ten minutes in memory, one look a minute for a day,
and the last thousand steps of alarms; the last two outlive a restart, as do
baselines, raised alarms, and which keys are in doubt. A link that is given up is
forgotten, its steps stay. Runs on the node's event loop; a scrape on another
thread reads only what is replaced whole.
"""

from collections import deque
from pathlib import Path

import structlog

from qkms_node.config import AlarmsSection
from qkms_node.ledger.link_records import AlarmSeverity
from qkms_node.service.monitoring.alarms import Alarm
from qkms_node.service.monitoring.findings import Thresholds
from qkms_node.service.monitoring.history_file import History, HistoryFile
from qkms_node.service.monitoring.link_view import LinkView
from qkms_node.service.monitoring.look import Look

log = structlog.get_logger(__name__)

STEPS_KEPT = 1_000
KEEP_EVERY_S = 300.0


class LinkMonitor:
    """The views of all links, by peer. `folder`: where the history is kept; None: in memory only."""

    def __init__(self, thresholds: Thresholds, folder: Path | None = None) -> None:
        self._thresholds = thresholds
        self._file = HistoryFile(folder)
        kept = self._file.read()
        self._kept = kept.links
        self._steps = deque(kept.steps, STEPS_KEPT)
        self._written_s = 0.0
        self.views: dict[str, LinkView] = {}

    @classmethod
    def plain(cls, max_qber: float) -> "LinkMonitor":
        """With every default and nothing kept on disk."""
        return cls(Thresholds(AlarmsSection(), max_qber, min_store=0))

    @property
    def min_store(self) -> int:
        """How many keys of a store are left for others."""
        return self._thresholds.min_store

    @property
    def steps(self) -> list[Alarm]:
        """The steps of all alarms that are kept, oldest first."""
        return list(self._steps)

    @property
    def raised(self) -> list[Alarm]:
        """The alarms of all links that are raised, most severe first."""
        found = [alarm for view in self.views.values() for alarm in view.raised]
        return sorted(found, key=lambda alarm: (-alarm.severity, alarm.peer, alarm.kind))

    def view(self, peer: str) -> LinkView:
        """The view of the link to `peer`."""
        view = self.views.get(peer)
        if view is None:
            view = LinkView(peer, self._thresholds, self._kept.pop(peer, None))
            self.views = {**self.views, peer: view}
        return view

    def take(self, peer: str, look: Look) -> None:
        """One more look at the link to `peer`."""
        steps = self.view(peer).take(look)
        for step in steps:
            self._note(step)
        if steps or look.time_s - self._written_s >= KEEP_EVERY_S:
            self.keep(look.time_s)

    def forget(self, peer: str, time_s: float) -> None:
        """There is no link to `peer` any more: what was raised of it is cleared."""
        self._kept.pop(peer, None)
        view = self.views.get(peer)
        if view is None:
            return
        self.views = {other: v for other, v in self.views.items() if other != peer}
        for alarm in view.raised:
            cause = "the peer is no member any more"
            self._note(Alarm(peer, alarm.kind, AlarmSeverity.CLEARED, alarm.raise_s, time_s, cause))
        self.keep(time_s)

    def keep(self, time_s: float) -> None:
        """Makes the history durable."""
        links = {peer: view.kept() for peer, view in self.views.items()}
        self._file.write(History({**self._kept, **links}, list(self._steps)))
        self._written_s = time_s

    def _note(self, step: Alarm) -> None:
        self._steps.append(step)
        cleared = step.severity is AlarmSeverity.CLEARED
        tell = log.info if cleared else log.warning
        tell(
            "link.alarm_cleared" if cleared else "link.alarm_raised",
            peer=step.peer,
            alarm=step.kind.name,
            severity=step.severity.name,
            cause=step.cause,
        )
