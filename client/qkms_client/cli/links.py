"""`qkms links`: quantum links as their nodes see them, now, over time, and their alarms."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from qkms_client.cli import options
from qkms_client.cli.failure import UNAVAILABLE
from qkms_client.cli.links_watch import watch_links
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json, table
from qkms_client.errors import QkmsError
from qkms_client.sync.client import Client
from qkms_client.types import Link, LinkAlarm

Found = TypeVar("Found")

FIGURES = ("qber", "usual", "bit/s", "eskr", "drawn", "stored", "fill", "empty at")
COLUMNS = ("node", "peer", "kme", "state", *FIGURES, "alarms")

node_option = click.option("--node", help="Only the links of this node. Default: of every node.")


@click.group(invoke_without_command=True)
@node_option
@options.common
def links(settings: Settings, node: str | None) -> None:
    """Quantum links: state, error rate, key rate, keys in store, alarms.

    Rates in bit/s: what the KME distils, what came into the store, what the node draws. Nodes that do not
    answer are named on stderr; ends with code 4 when none does.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    with settings.client() as client:
        found, answered = of_nodes(client, node, settings, client.list_links)
    if settings.json:
        print_json(found)
    else:
        click.echo(table(COLUMNS, map(_row, found)))
        for link in found:
            if link.error:
                click.echo(f"{link.node_id} to {link.peer_node_id}: {link.error}")
            for kme in link.kmes:
                if kme.error and not link.error:
                    click.echo(f"{link.node_id} to {link.peer_node_id}, not by {kme.kme_id}: {kme.error}")
    _end(answered)


@links.command("alarms")
@node_option
@click.option("--history", is_flag=True, help="Every step of every alarm that is kept, oldest first.")
@options.common
def show_alarms(settings: Settings, node: str | None, history: bool) -> None:
    """Alarms of links that are raised; severities of ITU-T X.733.

    Each node keeps the last thousand steps, also over a restart.
    """

    def ask(each: str, *, timeout: float | None) -> list[LinkAlarm]:
        return client.list_link_alarms(each, history=history, timeout=timeout)

    with settings.client() as client:
        found, answered = of_nodes(client, node, settings, ask)
    if history:
        found.sort(key=lambda alarm: alarm.change_time.timestamp() if alarm.change_time is not None else 0.0)
    if settings.json:
        print_json(found)
    elif found or history:
        columns = ("since" if not history else "time", "node", "peer", "kme", "alarm", "severity", "cause")
        click.echo(table(columns, [_alarm_row(alarm, history) for alarm in found]))
    elif answered:
        click.echo("no alarm is raised")
    _end(answered)


@links.command()
@node_option
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option("--count", type=click.IntRange(1), help="End after this many looks. Default: go on.")
@options.common
def watch(settings: Settings, node: str | None, interval: float, count: int | None) -> None:
    """Follow the links: redrawn on a terminal, with their last minutes; else a line for each link and look.

    Ends with Ctrl-C.
    """
    with settings.client() as client:

        def look() -> list[Link]:
            found, answered = of_nodes(client, node, settings, client.list_links)
            _end(answered)
            return found

        watch_links(client, settings, look, interval, count)


def of_nodes(
    client: Client, node: str | None, settings: Settings, ask: Callable[..., Sequence[Found]]
) -> tuple[list[Found], bool]:
    """What one node, or every node, answers, and whether one did. Raises QkmsError of a single node."""
    found: list[Found] = []
    asked = [node] if node is not None else list(client.endpoints)
    failed = 0
    for each in asked:
        try:
            found += ask(each, timeout=settings.timeout or client.profile.attempt_timeout_s)
        except QkmsError as error:
            if node is not None:
                raise
            failed += 1
            click.echo(f"qkms: {each}: {error}", err=True)
    return found, failed < len(asked)


def _end(answered: bool) -> None:
    if not answered:
        raise click.exceptions.Exit(UNAVAILABLE)


def _row(link: Link) -> tuple[object, ...]:
    return (
        link.node_id,
        link.peer_node_id,
        _kme(link),
        link.state.name,
        percent(link.qber),
        percent(link.qber_baseline),
        link.skr,
        link.eskr,
        link.expected_consumption,
        link.stored_key_count,
        f"{link.fill:.0%}" if link.fill is not None else None,
        link.expected_exhaustion_time,
        ", ".join(_alarm(alarm, named=bool(link.kmes)) for alarm in link.alarms),
    )


def _kme(link: Link) -> str:
    """Which KME serves; in brackets one that would if it could, of several none of which does."""
    if not link.kmes:
        return link.source_kme_id
    serving = next((kme.kme_id for kme in link.kmes if kme.serves), "")
    return serving or f"({link.kmes[0].kme_id})"


def _alarm(alarm: LinkAlarm, *, named: bool) -> str:
    text = f"{alarm.kind.name} {alarm.severity.name.lower()}"
    return f"{alarm.kme_id}: {text}" if named else text


def _alarm_row(alarm: LinkAlarm, history: bool) -> tuple[object, ...]:
    time = alarm.change_time if history else alarm.raise_time
    kind, severity = alarm.kind.name, alarm.severity.name
    return time, alarm.node_id, alarm.peer_node_id, alarm.kme_id, kind, severity, alarm.cause


def percent(fraction: float | None) -> str | None:
    """A fraction as a percentage with two digits."""
    return f"{fraction:.2%}" if fraction is not None else None
