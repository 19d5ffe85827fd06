"""Links followed over time: redrawn with sparklines on a terminal, else as lines.

The curves begin with what the nodes have kept and go on with each look.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

import click

from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json, table
from qkms_client.errors import QkmsError
from qkms_client.sync.client import Client
from qkms_client.types import Link

CURVE = 24
BARS = "▁▂▃▄▅▆▇█"
COLUMNS = ("node", "peer", "state", "qber", "", "bit/s", "", "fill", "", "alarms")
HOME_AND_CLEAR = "\x1b[H\x1b[J"

_Point = tuple[float | None, float | None, float | None]


def watch_links(
    client: Client, settings: Settings, look: Callable[[], list[Link]], interval_s: float, count: int | None
) -> None:
    """Shows what `look` finds, again each `interval_s`, `count` times or for ever."""
    redrawn = sys.stdout.isatty() and not settings.json
    curves: dict[tuple[str, str], deque[_Point]] = {}
    shown = 0
    while True:
        found = look()
        if redrawn:
            for link in found:
                _curve(client, curves, link).append((link.qber, link.skr, link.fill))
            rows = [_row(link, curves[link.node_id, link.peer_node_id]) for link in found]
            click.echo(HOME_AND_CLEAR + table(COLUMNS, rows))
        else:
            for link in found:
                print_json(link) if settings.json else click.echo(_line(link))
            sys.stdout.flush()
        shown += 1
        if shown == count:
            return
        time.sleep(interval_s)


def sparkline(values: Sequence[float | None], least: float, most: float) -> str:
    """One bar for each value between the bounds; a blank where there is none."""
    width = (most - least) or 1.0
    top = len(BARS) - 1
    return "".join(
        " " if value is None else BARS[max(0, min(top, round((value - least) / width * top)))] for value in values
    )


def _curve(client: Client, curves: dict[tuple[str, str], deque[_Point]], link: Link) -> deque[_Point]:
    place = (link.node_id, link.peer_node_id)
    if place not in curves:
        curves[place] = deque(maxlen=CURVE)
        try:
            for sample in client.list_link_samples(*place)[-CURVE:]:
                stored, room = sample.stored_key_count, sample.max_key_count
                fill = stored / room if stored is not None and room else None
                curves[place].append((sample.qber, sample.skr, fill))
        except QkmsError as error:
            click.echo(f"qkms: {link.node_id}: {error}", err=True)
    return curves[place]


def _row(link: Link, curve: deque[_Point]) -> tuple[object, ...]:
    qbers, rates, fills = zip(*curve, strict=True)
    # A scale from zero: a QBER that trembles by a hundredth of a percent is not drawn as a cliff.
    most_qber = max((q for q in qbers if q is not None), default=0.0)
    most_rate = max((r for r in rates if r is not None), default=0.0)
    return (
        link.node_id,
        link.peer_node_id,
        link.state.name,
        f"{link.qber:.2%}" if link.qber is not None else None,
        sparkline(qbers, 0.0, max(0.11, most_qber)),
        link.skr,
        sparkline(rates, 0.0, most_rate),
        f"{link.fill:.0%}" if link.fill is not None else None,
        sparkline(fills, 0.0, 1.0),
        _alarms(link),
    )


def _line(link: Link) -> str:
    time_of = link.observe_time.isoformat(timespec="milliseconds") if link.observe_time is not None else "-"
    figures = {
        "qber": f"{link.qber:.4f}" if link.qber is not None else None,
        "skr": f"{link.skr:.4g}" if link.skr is not None else None,
        "eskr": f"{link.eskr:.4g}" if link.eskr is not None else None,
        "stored": link.stored_key_count,
    }
    told = " ".join(f"{name}={'-' if value is None else value}" for name, value in figures.items())
    return f"{time_of} {link.node_id} {link.peer_node_id} {link.state.name} {told} {_alarms(link)}".rstrip()


def _alarms(link: Link) -> str:
    return ",".join(f"{alarm.kind.name}:{alarm.severity.name.lower()}" for alarm in link.alarms)
