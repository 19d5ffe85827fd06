"""Everything that is known of one link: its looks, figures, alarms, and which of its keys are in doubt. Pure.

Once a QBER is over `max_qber`, or has risen over the link's own baseline so far
that keys are to be refused, the link gives no keys until the alarm is cleared.
The keys that were distilled between the last look in order and the clearing are
in doubt for good: the pulses of their blocks were measured by somebody, or badly.
"""

from collections import Counter, deque
from collections.abc import Iterator

from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity
from qkms_node.service.monitoring.alarms import Alarm, Alarms
from qkms_node.service.monitoring.baseline import Baseline
from qkms_node.service.monitoring.figures import CONSUMPTION_S, Figures, figures
from qkms_node.service.monitoring.findings import Thresholds, findings
from qkms_node.service.monitoring.history_file import LinkHistory, Suspicion
from qkms_node.service.monitoring.look import Look

LOOKS_KEPT = 300
"""Every look, in memory: ten minutes at the default of one in two seconds."""
SAMPLES_KEPT = 1_440
SAMPLE_S = 60.0
"""One look a minute, for a day, durable."""
SUSPICIONS_KEPT = 64
USES_KEPT = 10_000

_QBER = (AlarmKind.QBER_HIGH, AlarmKind.QBER_RISE)


class LinkView:
    """One link, by one of this site's KMEs, from look to look."""

    def __init__(self, peer: str, thresholds: Thresholds, kept: LinkHistory | None, kme: str = "") -> None:
        self.peer = peer
        self.kme = kme
        self._thresholds = thresholds
        raised = kept.raised if kept is not None else ()
        self._alarms = Alarms(peer, thresholds.alarms.raise_after, thresholds.alarms.clear_after, raised, kme)
        self._baseline = kept.baseline if kept is not None else Baseline()
        self._suspicions = deque(kept.suspicions if kept is not None else (), SUSPICIONS_KEPT)
        self._samples = deque(kept.samples if kept is not None else (), SAMPLES_KEPT)
        self._looks: deque[Look] = deque(maxlen=LOOKS_KEPT)
        self._used: deque[tuple[float, int]] = deque(maxlen=USES_KEPT)
        self._in_order_s: float | None = None
        self.figures = Figures()
        self.drawn = 0
        self.collected = 0
        self.discarded: Counter[str] = Counter()

    @property
    def baseline(self) -> float | None:
        """The QBER that a rise is measured from; None: not known yet."""
        fixed = self._thresholds.alarms.qber_baseline
        return fixed if fixed is not None else self._baseline.known

    @property
    def raised(self) -> list[Alarm]:
        """The alarms that are raised, most severe first."""
        return sorted(self._alarms.raised.values(), key=lambda alarm: (-alarm.severity, alarm.kind))

    @property
    def refusal(self) -> Alarm | None:
        """The alarm because of which no key of this link is used now, if there is one."""
        return next((alarm for alarm in self.raised if self._refuses(alarm)), None)

    @property
    def is_overloaded(self) -> bool:
        """Whether more is drawn here than comes in."""
        return AlarmKind.LINK_OVERLOADED in self._alarms.raised

    @property
    def last(self) -> Look | None:
        """The last look."""
        return self._looks[-1] if self._looks else None

    def take(self, look: Look) -> list[Alarm]:
        """One more look; the steps of alarms it led to."""
        self._looks.append(look)
        if not self._samples or look.time_s - self._samples[-1].time_s >= SAMPLE_S:
            self._samples.append(look)
        while self._used and self._used[0][0] < look.time_s - CONSUMPTION_S:
            self._used.popleft()
        self.figures = figures(self._looks, self._used)
        refused = self.refusal is not None
        held = self._alarms.held
        steps = self._alarms.take(findings(look, self.figures, self.baseline, self._thresholds, held), look.time_s)
        self._suspect(refused, look)
        in_order = look.qber is not None and not any(kind in self._alarms.raised for kind in _QBER)
        if in_order and look.qber is not None and look.up is not False:
            self._baseline = self._baseline.with_look(look.qber, look.time_s)
        if self.refusal is None and not look.problem:
            self._in_order_s = look.time_s
        return steps

    def use(self, time_s: float, bits: int, *, drawn: bool) -> None:
        """A key was taken from the store, as master (`drawn`) or as slave."""
        self._used.append((time_s, bits))
        self.drawn += drawn
        self.collected += not drawn

    def is_suspect(self, earliest_s: float, latest_s: float) -> bool:
        """Whether a key that was distilled between these times is in doubt."""
        return any(
            s.since_s <= latest_s and (s.until_s is None or earliest_s <= s.until_s) for s in self._suspicions
        )

    def worst_qber(self, earliest_s: float, latest_s: float) -> float | None:
        """The greatest QBER that a key distilled between these times may have had: of the looks from the last one
        before to the first one after; None: they tell none. What is long past is known by one look in SAMPLE_S."""
        told = [(look.time_s, look.qber) for look in self.samples() if look.qber is not None]
        first = max((n for n, (time_s, _) in enumerate(told) if time_s <= earliest_s), default=0)
        last = min((n for n, (time_s, _) in enumerate(told) if time_s >= latest_s), default=len(told))
        # What is no fraction is taken for the worst: a NaN is greater than nothing.
        return max((qber if 0 <= qber <= 1 else 1.0 for _, qber in told[first : last + 1]), default=None)

    def samples(self) -> Iterator[Look]:
        """What is kept of the past, oldest first: one look a minute, then every look."""
        recent_s = self._looks[0].time_s if self._looks else float("inf")
        yield from (sample for sample in self._samples if sample.time_s < recent_s)
        yield from self._looks

    def kept(self) -> LinkHistory:
        """What is to outlive a restart."""
        raised = list(self._alarms.raised.values())
        return LinkHistory(self._baseline, raised, list(self._suspicions), list(self._samples))

    def _refuses(self, alarm: Alarm) -> bool:
        if alarm.kind is AlarmKind.QBER_HIGH:
            return alarm.severity is AlarmSeverity.CRITICAL
        refused = self._thresholds.alarms.on_qber_rise == "refuse" and alarm.severity >= AlarmSeverity.MAJOR
        return alarm.kind is AlarmKind.QBER_RISE and refused

    def _suspect(self, refused: bool, look: Look) -> None:
        if self.refusal is not None and not refused:
            since_s = self._in_order_s if self._in_order_s is not None else look.time_s - SAMPLE_S
            self._suspicions.append(Suspicion(since_s))
        elif self.refusal is None and refused and self._suspicions:
            self._suspicions[-1] = Suspicion(self._suspicions[-1].since_s, look.time_s)
