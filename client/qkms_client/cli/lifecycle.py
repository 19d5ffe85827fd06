"""`qkms keys update`, `stage`, `validate`, `activate` and the rest of what keys and versions go through."""

from datetime import timedelta
from uuid import UUID

import click

from qkms_client.cli import options
from qkms_client.cli.data import pairs
from qkms_client.cli.options import GRADES, Settings
from qkms_client.cli.output import print_json
from qkms_client.cli.records import show_keys, show_versions

_version = click.argument("version", type=click.IntRange(1))
_reason = click.option("--reason", default="", help="Kept with the version; up to 256 characters.")


@click.command()
@click.argument("key")
@click.option("--etag", default="", help="Only if the key has not changed since it was read.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Replaces all labels; may be repeated."
)
@click.option("--clear-labels", is_flag=True, help="Take all labels off.")
@options.required_grade
@click.option("--prefer-qkd/--no-prefer-qkd", default=None)
@click.option("--refuse-relays/--no-refuse-relays", default=None)
@options.max_qber
@click.option("--max-staleness", type=click.FloatRange(0), metavar="SECONDS", help="As with `create`.")
@options.rotation_period
@click.option("--min-decrypt-version", type=click.IntRange(0), help="Older ones no longer decrypt. 0: all do.")
@click.option("--min-encrypt-version", type=click.IntRange(0), help="Older ones no longer protect. 0: all may.")
@click.option("--deletion-protection/--no-deletion-protection", default=None)
@click.option("--allow-compromised-decrypt/--no-allow-compromised-decrypt", default=None)
@options.request_id
@options.common
def update(
    settings: Settings,
    key: str,
    etag: str,
    labels: tuple[str, ...],
    clear_labels: bool,
    required_grade: str | None,
    prefer_qkd: bool | None,
    refuse_relays: bool | None,
    max_qber: float | None,
    max_staleness: float | None,
    rotation_period: timedelta | None,
    min_decrypt_version: int | None,
    min_encrypt_version: int | None,
    deletion_protection: bool | None,
    allow_compromised_decrypt: bool | None,
    request_id: UUID | None,
) -> None:
    """Change settings of a key; what is not given stays.

    \b
    Example:
      qkms keys update payments --rotation-period 90d --deletion-protection
    """
    given = pairs(labels, "--label")
    with settings.client() as client:
        try:
            changed = client.update_key(
                key,
                etag=etag,
                labels=given if labels or clear_labels else None,
                required_grade=GRADES[required_grade] if required_grade else None,
                max_staleness=None if max_staleness is None else timedelta(seconds=max_staleness),
                rotation_period=rotation_period,
                min_decrypt_version=min_decrypt_version,
                min_encrypt_version=min_encrypt_version,
                deletion_protection=deletion_protection,
                allow_compromised_decrypt=allow_compromised_decrypt,
                prefer_qkd=prefer_qkd,
                refuse_relays=refuse_relays,
                max_qber=max_qber,
                request_id=request_id,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    show_keys(settings, [changed], single=True)


@click.command()
@click.argument("key")
@click.option("--etag", default="", help="Only if the key has not changed since it was read.")
@options.request_id
@options.common
def delete(settings: Settings, key: str, etag: str, request_id: UUID | None) -> None:
    """Delete a key whose versions are all destroyed. Its name is never used again."""
    with settings.client() as client:
        show_keys(settings, [client.delete_key(key, etag=etag, request_id=request_id)], single=True)


@click.command()
@click.argument("key")
@options.request_id
@options.common
def stage(settings: Settings, key: str, request_id: UUID | None) -> None:
    """Make a version that waits for activation: every node opens it, nobody uses it.

    \b
    Example:
      qkms keys stage payments
      qkms keys validate payments 4
      qkms keys activate payments 4
    """
    with settings.client() as client:
        show_versions(settings, [client.stage_version(key, request_id=request_id)], single=True)


@click.command()
@click.argument("key")
@_version
@options.request_id
@options.common
def validate(settings: Settings, key: str, version: int, request_id: UUID | None) -> None:
    """Declare a staged version valid, once a quorum of nodes has opened it."""
    with settings.client() as client:
        show_versions(settings, [client.validate_version(key, version, request_id=request_id)], single=True)


@click.command()
@click.argument("key")
@_version
@click.option(
    "--expected-primary-version",
    type=click.IntRange(0),
    help="Refuse when another version is primary. Default: read first.",
)
@options.request_id
@options.common
def activate(
    settings: Settings, key: str, version: int, expected_primary_version: int | None, request_id: UUID | None
) -> None:
    """Make a validated version the primary one; older ones still decrypt.

    Refused until the key's max-staleness has passed since the staging.
    """
    with settings.client() as client:
        done = client.activate_version(
            key, version, expected_primary_version=expected_primary_version, request_id=request_id
        )
    if settings.json:
        print_json(done)
        return
    said = "was the primary version already" if done.already_active else "is the primary version"
    click.echo(f"version {done.version.version} of {done.key.name} {said}")


@click.command()
@click.argument("key")
@_version
@_reason
@options.request_id
@options.common
def abort(settings: Settings, key: str, version: int, reason: str, request_id: UUID | None) -> None:
    """Give a staged version up: it is destroyed at once."""
    with settings.client() as client:
        done = client.abort_version(key, version, reason=reason, request_id=request_id)
    show_versions(settings, [done], single=True)


@click.command()
@click.argument("key")
@_version
@_reason
@options.request_id
@options.common
def compromise(settings: Settings, key: str, version: int, reason: str, request_id: UUID | None) -> None:
    """Mark a version as compromised, for good: it never protects again.

    It decrypts only where the key has --allow-compromised-decrypt. Rotate the key if it was the primary version.
    """
    with settings.client() as client:
        done = client.compromise_version(key, version, reason=reason, request_id=request_id)
    show_versions(settings, [done], single=True)


LIFECYCLE = (
    update,
    delete,
    stage,
    validate,
    activate,
    abort,
    compromise,
)
