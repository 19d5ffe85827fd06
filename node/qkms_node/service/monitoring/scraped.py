"""The monitor's views as metrics: read on the thread of a scrape, from what is replaced whole."""

from qkms_node.service.monitoring.link_view import LinkView
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.telemetry.links import LinkFigures


def scraped(monitor: LinkMonitor) -> list[LinkFigures]:
    """Every link, by peer and KME."""
    serving = monitor.serving
    return [_figures(view, serving.get(view.peer)) for _, view in sorted(monitor.views.items())]


def _figures(view: LinkView, serving: str | None) -> LinkFigures:
    look, measured = view.last, view.figures
    gauges: dict[str, float | None] = {
        "qber_baseline": view.baseline,
        "eskr_bits_per_second": measured.eskr_bps,
        "expected_consumption_bits_per_second": measured.consumption_bps,
        "expected_exhaustion_timestamp_seconds": measured.exhaustion_s,
        "overloaded": view.is_overloaded,
        "serves": serving is None or serving == view.kme,
    }
    if look is not None:
        gauges |= {
            "up": 0 if look.problem else look.up,
            "qber": look.qber,
            "skr_bits_per_second": look.skr_bps,
            "stored_keys": look.stored,
            "max_keys": look.capacity,
            "prefetched_keys": look.prefetched,
        }
    return LinkFigures(
        view.peer,
        view.kme,
        gauges,
        {"master": view.drawn, "slave": view.collected},
        view.discarded.copy(),
        {alarm.kind.name.lower(): (alarm.severity.name.lower(), int(alarm.severity)) for alarm in view.raised},
    )
