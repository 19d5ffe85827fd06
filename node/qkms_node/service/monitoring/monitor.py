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

from qkms_node.config_quantum import AlarmsSection
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
    """The views of all links, each by one KME. `folder`: where the history is kept; None: in memory only.

    `kme_id`: the KME that is meant where none is named.
    """

    def __init__(self, thresholds: Thresholds, folder: Path | None = None, kme_id: str = "") -> None:
        self._thresholds = thresholds
        self._kme_id = kme_id
        self._file = HistoryFile(folder)
        kept = self._file.read()
        self._kept = kept.links
        self._steps = deque(kept.steps, STEPS_KEPT)
        self._written_s = 0.0
        self.views: dict[str, LinkView] = {}
        self.serving: dict[str, str] = {}
        """By peer, which of several KMEs serves; empty: none does."""

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

    @property
    def raised_in_use(self) -> list[Alarm]:
        """The raised alarms of the links that serve, or of all that could when none does; most severe first."""
        return [alarm for alarm in self.raised if alarm.kme == (self.serving.get(alarm.peer) or alarm.kme)]

    def view(self, peer: str, kme: str = "") -> LinkView:
        """The view of the link to `peer` by one KME."""
        kme = kme or self._kme_id
        name = f"{peer} {kme}" if kme else peer
        view = self.views.get(name)
        if view is None:
            view = LinkView(peer, self._thresholds, self._kept.pop(name, None), kme)
            self.views = {**self.views, name: view}
        return view

    def serve(self, peer: str, kme: str) -> None:
        """Of the KMEs to `peer`, this one serves; empty: none."""
        self.serving = {**self.serving, peer: kme}

    def take(self, peer: str, look: Look, kme: str = "") -> None:
        """One more look at the link to `peer` by one KME."""
        steps = self.view(peer, kme).take(look)
        for step in steps:
            self._note(step)
        if steps or look.time_s - self._written_s >= KEEP_EVERY_S:
            self.keep(look.time_s)

    def forget(self, peer: str, time_s: float) -> None:
        """There is no link to `peer` any more: what was raised of it is cleared."""
        self._kept = {name: kept for name, kept in self._kept.items() if name.partition(" ")[0] != peer}
        self.serving = {other: kme for other, kme in self.serving.items() if other != peer}
        gone = [view for view in self.views.values() if view.peer == peer]
        if not gone:
            return
        self.views = {name: view for name, view in self.views.items() if view.peer != peer}
        cause = "the peer is no member any more"
        for alarm in (alarm for view in gone for alarm in view.raised):
            self._note(Alarm(peer, alarm.kind, AlarmSeverity.CLEARED, alarm.raise_s, time_s, cause, alarm.kme))
        self.keep(time_s)

    def keep(self, time_s: float) -> None:
        """Makes the history durable."""
        links = {name: view.kept() for name, view in self.views.items()}
        self._file.write(History({**self._kept, **links}, list(self._steps)))
        self._written_s = time_s

    def _note(self, step: Alarm) -> None:
        self._steps.append(step)
        cleared = step.severity is AlarmSeverity.CLEARED
        tell = log.info if cleared else log.warning
        tell(
            "link.alarm_cleared" if cleared else "link.alarm_raised",
            peer=step.peer,
            kme=step.kme,
            alarm=step.kind.name,
            severity=step.severity.name,
            cause=step.cause,
        )
