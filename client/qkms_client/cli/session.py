"""`qkms session`: hybrid session keys with another service."""

from datetime import timedelta
from uuid import UUID

import click

from qkms_client.cli import options
from qkms_client.cli.data import write_data
from qkms_client.cli.options import GRADES, Settings
from qkms_client.cli.output import print_json
from qkms_client.secret import EstablishedSession

KEY_OUT = click.option(
    "--key-out", help="New file (mode 0600) for the session's exporter key of 32 bytes, equal on both ends."
)
WAIT = click.option(
    "--wait",
    type=click.FloatRange(0, 86400, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the other end.",
)


@click.group()
def session() -> None:
    """Establish a session key with another service; the cluster cannot read it.

    \b
    One end offers and shows a session id, the other joins with it:
      qkms session open spiffe://qkms.dev/service/ledger --key-out session.key
      qkms session join 8f1d2b1e-... --initiator spiffe://qkms.dev/service/payments --key-out session.key
    Both print the same fingerprint.
    """


@session.command("open")
@click.argument("responder")
@click.option("--session-id", type=click.UUID, help="Default: a fresh one.")
@click.option(
    "--ttl", type=click.FloatRange(1, 86400), metavar="SECONDS", help="Life of the session. Default: 1 hour."
)
@options.required_grade
@KEY_OUT
@WAIT
@options.common
def open_(
    settings: Settings,
    responder: str,
    session_id: UUID | None,
    ttl: float | None,
    required_grade: str | None,
    key_out: str | None,
    wait: float,
) -> None:
    """Offer a session to RESPONDER (a principal) and wait until both ends hold the key."""

    def announce(identifier: str) -> None:
        if settings.json:
            print_json({"session_id": identifier, "state": "OFFERED"})
        else:
            click.echo(f"offered; the other end joins with: qkms session join {identifier}", err=True)

    with settings.client() as client:
        established = client.open_session(
            responder,
            session=session_id,
            required_grade=GRADES[required_grade] if required_grade else None,
            ttl=timedelta(seconds=ttl) if ttl else None,
            announce=announce,
            timeout=wait,
        )
    _show(settings, established, key_out)


@session.command()
@click.argument("session_id", type=click.UUID)
@click.option("--initiator", help="The principal that you expect to have offered it; another one is rejected.")
@options.required_grade
@KEY_OUT
@WAIT
@options.common
def join(
    settings: Settings,
    session_id: UUID,
    initiator: str | None,
    required_grade: str | None,
    key_out: str | None,
    wait: float,
) -> None:
    """Join the session that another service offered to you."""
    with settings.client() as client:
        established = client.join_session(
            session_id,
            initiator=initiator,
            required_grade=GRADES[required_grade] if required_grade else None,
            timeout=wait,
        )
    _show(settings, established, key_out)


def _show(settings: Settings, established: EstablishedSession, key_out: str | None) -> None:
    if key_out is not None:
        write_data(key_out, established.exporter_key(), encoded=False)
    shown = {
        "session_id": established.session_id,
        "peer": established.peer,
        "grade": str(established.grade),
        "root_epoch": established.root_epoch,
        "fingerprint": established.fingerprint(),
        "expire_time": established.expire_time,
    }
    if settings.json:
        print_json({**shown, "state": "CONFIRMED"})
    else:
        click.echo("\n".join(f"{name}: {value}" for name, value in shown.items()))
