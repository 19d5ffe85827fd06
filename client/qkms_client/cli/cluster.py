"""`qkms status` and `root`: the cluster as an operator sees it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import click

from qkms_client.cli import options
from qkms_client.cli.failure import UNAVAILABLE
from qkms_client.cli.options import Settings
from qkms_client.cli.output import Json, plain, print_json, table
from qkms_client.cli.records import shown_qber
from qkms_client.errors import QkmsError
from qkms_client.profile import Profile
from qkms_client.types import NodeStatus

OWN_WARNING = timedelta(days=14)

DIGEST_SHOWN = 12
"""Hexadecimal digits of a state digest that tell two states apart at a glance."""


@click.command()
@options.common
def status(settings: Settings) -> None:
    """Every node's own view: role, term, revision, state digest, root epoch.

    Nodes at the same revision must show the same digest. Ends with code 4 when no node answers.
    """
    with settings.client() as client:
        answers = client.status_of_all(timeout=settings.timeout)
        _warn_of_own(client.profile)
    if settings.json:
        print_json({node: _status_json(answer) for node, answer in answers.items()})
    else:
        columns = ("node", "role", "term", "revision", "digest", "root", "grade", "keys", "note")
        click.echo(table(columns, [_status_row(node, answer) for node, answer in answers.items()]))
    if all(isinstance(answer, QkmsError) for answer in answers.values()):
        raise click.exceptions.Exit(UNAVAILABLE)


@click.group()
def root() -> None:
    """The root that all keys are wrapped under."""


@root.command()
@click.option("--expected-epoch", type=click.IntRange(0), help="Refuse when another epoch is active.")
@options.request_id
@options.common
def rotate(settings: Settings, expected_epoch: int | None, request_id: UUID | None) -> None:
    """Ask for a new root epoch, seeded afresh from the quantum links.

    It becomes active when a quorum has confirmed it: see `qkms status`.
    """
    with settings.client() as client:
        rotation = client.rotate_root(expected_epoch=expected_epoch, request_id=request_id)
    if settings.json:
        print_json(rotation)
        return
    done = "was asked for before by this request" if rotation.replayed else "is asked for"
    click.echo(f"a root epoch after {rotation.expected_epoch} {done}; see qkms status")


@root.command("show")
@click.option("--node", help="As this node sees them. Default: any.")
@options.common
def show_root(settings: Settings, node: str | None) -> None:
    """The root epochs in use: how much is under each, and how far rewrapping has come."""
    with settings.client() as client:
        status = client.status(node, timeout=settings.timeout)
    if settings.json:
        print_json(list(status.epoch_uses))
        return
    columns = ("epoch", "state", "grade", "versions", "sessions", "SAE keys", "recoverable", "QBER", "relays")
    rows = [
        (
            u.epoch,
            u.state.name,
            u.grade,
            u.version_count,
            u.session_count,
            u.sae_key_count,
            "yes" if u.recoverable else "no",
            shown_qber(u.qber),
            ",".join(u.relays),
        )
        for u in status.epoch_uses
    ]
    click.echo(table(columns, rows))


def _warn_of_own(profile: Profile) -> None:
    """Says on stderr that the caller's own certificate ends soon: nobody renews it but its owner."""
    left = profile.certificate_expires() - datetime.now(UTC)
    if left < OWN_WARNING:
        click.echo(f"qkms: your certificate {profile.certificate} ends in {left.days} days; renew it", err=True)


def _status_json(answer: NodeStatus | QkmsError) -> Json:
    if isinstance(answer, QkmsError):
        return {"error": {"reason": answer.reason, "message": answer.message}}
    return plain(answer)


def _status_row(node: str, answer: NodeStatus | QkmsError) -> tuple[object, ...]:
    if isinstance(answer, QkmsError):
        return (node, *[None] * 7, answer)
    epoch = answer.root.epoch if answer.root is not None else None
    grade = answer.root.grade if answer.root is not None else None
    digest = answer.state_digest.hex()[:DIGEST_SHOWN]
    role = answer.role.name.lower()
    passed = answer.root.relays if answer.root is not None else ()
    relays = f"QKD keys of the root have passed {', '.join(passed)}" if passed else ""
    note = "; ".join(filter(None, (answer.audit, answer.seeding, relays, *answer.warnings)))
    return node, role, answer.term, answer.revision, digest, epoch, grade, answer.key_count, note
