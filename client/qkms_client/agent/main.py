"""The entry point of `qkms-agent`: one command for each kind of tunnel."""

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from qkms_client.agent.agent import Agent
from qkms_client.agent.file import ENCODINGS, FileTarget
from qkms_client.agent.rotation import Tunnel
from qkms_client.agent.strongswan import DEFAULT_SOCKET, StrongswanTarget
from qkms_client.agent.target import Target
from qkms_client.agent.wireguard import WireGuardTarget
from qkms_client.cli.failure import exit_code, explanation
from qkms_client.cli.options import GRADES
from qkms_client.errors import QkmsError
from qkms_client.profile import load_profile
from qkms_client.sync.client import Client

MIN_PERIOD_S, MAX_PERIOD_S = 5.0, 86_400.0

COMMON = (
    click.option("--profile", type=click.Path(path_type=Path, dir_okay=False), envvar="QKMS_PROFILE"),
    click.option("--peer-agent", required=True, metavar="PRINCIPAL", help="The agent at the other end."),
    click.option("--tunnel", required=True, metavar="NAME", help="The same at both ends, one for each tunnel."),
    click.option(
        "--period",
        type=click.FloatRange(MIN_PERIOD_S, MAX_PERIOD_S),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help="A new key so often; the same at both ends. Their clocks must agree to a tenth of it.",
    ),
    click.option(
        "--required-grade", type=click.Choice(sorted(GRADES)), help="Take only keys of this grade at least."
    ),
    click.option(
        "--attempt",
        type=click.FloatRange(1, 300),
        default=15.0,
        show_default=True,
        metavar="SECONDS",
        help="How long the other end has for its part.",
    ),
    click.option("--once", is_flag=True, help="End after the first key is in place."),
    click.option("--json", "as_json", is_flag=True, help="Events as JSON, one a line."),
)


def common(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command."""
    for option in reversed(COMMON):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qkms-client")
def main() -> None:
    """Keep the pre-shared key of a tunnel in step at both ends, under sessions of a qkms cluster.

    Run one at each end, with the same --tunnel and --period. Each needs a profile (who it is, where the
    cluster is) and, in the cluster, the actions sessions.*. The keys hold if QKD or ML-KEM-768 or X25519 holds.

    \b
    Examples, at the one end and at the other:
      qkms-agent wireguard --tunnel a-b --peer-agent spiffe://qkms.dev/service/b wg0 PUBLIC_KEY_OF_B
      qkms-agent wireguard --tunnel a-b --peer-agent spiffe://qkms.dev/service/a wg0 PUBLIC_KEY_OF_A
    """


@main.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("command", nargs=-1)
@click.option("--encoding", type=click.Choice(sorted(ENCODINGS)), default="base64", show_default=True)
@common
def file(path: Path, command: tuple[str, ...], encoding: str, **given: Any) -> None:
    """Write the key to PATH (mode 0600; best on a tmpfs) and run COMMAND after each change.

    The key before it is in PATH.previous. COMMAND gets the key's id in QKMS_KEY_ID.

    \b
    Example:
      qkms-agent file --tunnel a-b --peer-agent spiffe://qkms.dev/service/b /run/a-b.key -- systemctl reload macsec
    """
    _run(FileTarget(path, encoding, command), **given)


@main.command()
@click.argument("interface")
@click.argument("public_key")
@click.option("--wg", "program", default="wg", show_default=True, help="The program of wireguard-tools.")
@common
def wireguard(interface: str, public_key: str, program: str, **given: Any) -> None:
    """Set the pre-shared key of the peer PUBLIC_KEY of INTERFACE. Needs CAP_NET_ADMIN."""
    _run(WireGuardTarget(interface, public_key, program), **given)


@main.command()
@click.argument("ppk_id")
@click.option("--connection", help="Authenticated anew with each key, by the end that begins. Default: none.")
@click.option("--socket", default=DEFAULT_SOCKET, show_default=True, help="Of charon's vici plugin.")
@common
def strongswan(ppk_id: str, connection: str | None, socket: str, **given: Any) -> None:
    """Load the key as the postquantum pre-shared key PPK_ID (RFC 8784) of strongSwan."""
    _run(StrongswanTarget(ppk_id, connection, socket), **given)


def _run(
    target: Target,
    *,
    profile: Path | None,
    peer_agent: str,
    tunnel: str,
    period: float,
    required_grade: str | None,
    attempt: float,
    once: bool,
    as_json: bool,
) -> None:
    try:
        with Client(load_profile(profile)) as client:
            own = client.principal
            if own is None or own == peer_agent:
                raise click.UsageError(f"--peer-agent must be another principal than this end's, {own}")

            def told(event: str, **fields: Any) -> None:
                _say(event, fields, as_json=as_json)
                if once and event == "installed":
                    agent.stop.set()

            agent = Agent(
                client,
                Tunnel(tunnel, own, peer_agent),
                target,
                period_s=period,
                attempt_s=min(attempt, period / 2),
                required_grade=GRADES[required_grade] if required_grade else None,
                told=told,
            )
            _stop_with(agent)
            told("started", tunnel=tunnel, offers=agent.offers)
            agent.run()
    except QkmsError as error:
        click.echo(explanation(error), err=True)
        raise SystemExit(exit_code(error)) from None


def _stop_with(agent: Agent) -> None:
    def stop(_: int, __: FrameType | None) -> None:
        agent.stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _say(event: str, fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"time": datetime.now(UTC).isoformat(), "event": event, **fields}))
    else:
        click.echo(f"{event}: " + ", ".join(f"{name} {value}" for name, value in fields.items()))
