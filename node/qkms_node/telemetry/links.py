"""QKD links as a scrape sees them, by peer and KME: the figures of the last look, what was drawn, and alarms.

A figure that the KME does not tell has no sample. The names follow ETSI GS QKD 015.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class LinkFigures:
    """One link now. `gauges`: by the name of a row of GAUGES; `used`, `discarded` and `alarms` by label."""

    peer: str
    kme: str
    gauges: dict[str, float | None]
    used: dict[str, int]
    discarded: dict[str, int]
    alarms: dict[str, tuple[str, int]]


GAUGES = {
    "up": "1 while the KME says that the link is up, 0 while it says down or does not answer.",
    "qber": "Quantum bit error rate, 0 to 1.",
    "qber_baseline": "The QBER that is usual on the link.",
    "skr_bits_per_second": "Secret key rate as the KME tells it.",
    "eskr_bits_per_second": "Rate at which keys came into the store.",
    "expected_consumption_bits_per_second": "Rate at which this node takes keys.",
    "stored_keys": "Keys in store.",
    "max_keys": "Keys that the store holds.",
    "expected_exhaustion_timestamp_seconds": "Unix time at which the store will be empty, while it falls.",
    "overloaded": "1 while more is drawn here than comes in.",
    "prefetched_keys": "Keys that were drawn ahead and wait.",
    "serves": "1 while keys are drawn by this KME, 0 while by another one of this site.",
}


class LinkState(Collector):
    """Read at the moment of a scrape."""

    def __init__(self, look: Callable[[], Sequence[LinkFigures]]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        links = self._look()
        for name, what in GAUGES.items():
            family = GaugeMetricFamily(f"qkms_link_{name}", what, labels=("peer", "kme"))
            for link in links:
                value = link.gauges.get(name)
                if value is not None:
                    family.add_metric((link.peer, link.kme), value)
            yield family
        used = CounterMetricFamily(
            "qkms_link_keys_used", "Keys taken from the store.", labels=("peer", "kme", "role")
        )
        lost = CounterMetricFamily("qkms_link_keys_discarded", "Keys not used.", labels=("peer", "kme", "reason"))
        severity = "Severity of a raised alarm, by RFC 8632: 3 warning, 4 minor, 5 major, 6 critical."
        alarms = GaugeMetricFamily("qkms_link_alarm", severity, labels=("peer", "kme", "alarm", "severity"))
        for link in links:
            for role, count in link.used.items():
                used.add_metric((link.peer, link.kme, role), count)
            for reason, count in link.discarded.items():
                lost.add_metric((link.peer, link.kme, reason), count)
            for alarm, (name, number) in link.alarms.items():
                alarms.add_metric((link.peer, link.kme, alarm, name), number)
        yield from (used, lost, alarms)
