"""`qkms keys`: keys, their versions, their events."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import click

from qkms_client.cli import options
from qkms_client.cli.data import pairs
from qkms_client.cli.options import GRADES, Settings
from qkms_client.cli.output import print_json, table
from qkms_client.consistency import Consistency
from qkms_client.types import Algorithm, Key, KeyEvent, KeyVersion


@click.group()
def keys() -> None:
    """Create, show, rotate and watch keys.

    A key is named by its id: payments, or keys/payments.

    \b
    Examples:
      qkms keys create payments --label team=billing
      qkms keys rotate payments
      qkms keys versions payments
      qkms keys watch --json
    """


@keys.command()
@click.argument("key_id")
@click.option(
    "--algorithm",
    type=click.Choice([a.value for a in Algorithm], case_sensitive=False),
    default=Algorithm.AES_256_GCM.value,
    show_default=True,
    help="Decides what the key can do; it never changes.",
)
@options.required_grade
@click.option(
    "--max-staleness",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How long a node cut off from the others may go on using the key.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@options.request_id
@options.common
def create(
    settings: Settings,
    key_id: str,
    algorithm: str,
    required_grade: str | None,
    max_staleness: float | None,
    labels: tuple[str, ...],
    request_id: UUID | None,
) -> None:
    """Create a key with version 1.

    \b
    What a key can do:
      AES_256_GCM                   encrypt, decrypt, rewrap, datakey, derive
      HMAC_*                        mac, verify-mac
      ED25519, ECDSA_*, RSA_*_PSS_* sign, verify, public-key
      ML_DSA_*                      the same, safe against quantum computers
      SLH_DSA_*                     the same, from hashes alone; experimental
      RSA_*_OAEP_*                  encrypt, decrypt, public-key
      ML_KEM_*, X25519MLKEM768      encapsulate, decapsulate, public-key
    """
    with settings.client() as client:
        key = client.create_key(
            key_id,
            algorithm=algorithm,
            required_grade=GRADES[required_grade] if required_grade else None,
            max_staleness=timedelta(seconds=max_staleness) if max_staleness else None,
            labels=pairs(labels, "--label"),
            request_id=request_id,
        )
    _show_keys(settings, [key], single=True)


@keys.command()
@click.argument("key")
@options.consistency
@options.common
def get(settings: Settings, key: str, consistency: Consistency | None) -> None:
    """Show one key."""
    with settings.client() as client:
        _show_keys(settings, [client.get_key(key, consistency=consistency)], single=True)


@keys.command("list")
@options.consistency
@options.common
def list_(settings: Settings, consistency: Consistency | None) -> None:
    """List all keys that you may see."""
    with settings.client() as client:
        _show_keys(settings, list(client.list_keys(consistency=consistency)))


@keys.command()
@click.argument("key")
@options.consistency
@options.common
def versions(settings: Settings, key: str, consistency: Consistency | None) -> None:
    """List the versions of a key, with their states and grades."""
    with settings.client() as client:
        _show_versions(settings, client.list_versions(key, consistency=consistency))


@keys.command()
@click.argument("key")
@click.option(
    "--expected-primary-version",
    type=click.IntRange(1),
    help="Refuse when another version is primary. Default: read first.",
)
@options.request_id
@options.common
def rotate(settings: Settings, key: str, expected_primary_version: int | None, request_id: UUID | None) -> None:
    """Make a new primary version; older ones still decrypt.

    To repeat a rotation whose outcome is unknown, give both options that the error shows.
    """
    with settings.client() as client:
        rotation = client.rotate_key(key, expected_primary_version=expected_primary_version, request_id=request_id)
    if settings.json:
        print_json(rotation)
        return
    done = "had been rotated before by this request" if rotation.replayed else "rotated"
    click.echo(
        f"{rotation.key.name} {done}: primary version {rotation.version.version}, grade {rotation.version.grade}"
    )


@keys.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@options.request_id
@options.common
def disable(settings: Settings, key: str, version: int, request_id: UUID | None) -> None:
    """Suspend a version: it neither encrypts nor decrypts until enabled."""
    with settings.client() as client:
        _show_versions(settings, [client.disable_version(key, version, request_id=request_id)], single=True)


@keys.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@options.request_id
@options.common
def enable(settings: Settings, key: str, version: int, request_id: UUID | None) -> None:
    """End the suspension of a version."""
    with settings.client() as client:
        _show_versions(settings, [client.enable_version(key, version, request_id=request_id)], single=True)


@keys.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--grace",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Time in which `restore` takes it back. Default: the cluster's. 0 is at once and final.",
)
@options.request_id
@options.common
def destroy(settings: Settings, key: str, version: int, grace: float | None, request_id: UUID | None) -> None:
    """Schedule the destruction of a version: what it encrypted is lost with it."""
    delay = None if grace is None else timedelta(seconds=grace)
    with settings.client() as client:
        done = client.destroy_version(key, version, grace=delay, request_id=request_id)
    _show_versions(settings, [done], single=True)


@keys.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@options.request_id
@options.common
def restore(settings: Settings, key: str, version: int, request_id: UUID | None) -> None:
    """Take back a scheduled destruction; the version is then suspended."""
    with settings.client() as client:
        _show_versions(settings, [client.restore_version(key, version, request_id=request_id)], single=True)


@keys.command()
@click.argument("key", required=False)
@click.option("--count", type=click.IntRange(1), help="End after this many events. Default: go on.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Start where this file says, and keep in it how far the output got.",
)
@options.common
def watch(settings: Settings, key: str | None, count: int | None, token_file: Path | None) -> None:
    """Print events of one key, or of all, as they happen; one line each.

    Goes on at another node when one fails. Ends with Ctrl-C.
    """
    token = token_file.read_text().strip() if token_file is not None and token_file.exists() else None
    with settings.client() as client, client.watch_keys(key, resume_token=token or None) as events:
        for number, event in enumerate(events, start=1):
            _show_event(settings, event)
            if token_file is not None and events.resume_token is not None:
                token_file.write_text(events.resume_token)
            if number == count:
                return


def _show_keys(settings: Settings, keys: list[Key], *, single: bool = False) -> None:
    if settings.json:
        print_json(keys[0] if single else keys)
        return
    rows = [
        (k.key_id, k.algorithm, k.primary_version, k.version_count, k.create_time, k.required_grade, _labels(k))
        for k in keys
    ]
    click.echo(table(("key", "algorithm", "primary", "versions", "created", "required grade", "labels"), rows))


def _labels(key: Key) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(key.labels.items()))


def _show_versions(settings: Settings, versions: list[KeyVersion], *, single: bool = False) -> None:
    if settings.json:
        print_json(versions[0] if single else versions)
        return
    rows = [(v.version, v.state.name, v.grade, v.root_epoch, v.create_time, v.destroy_time) for v in versions]
    click.echo(table(("version", "state", "grade", "root epoch", "created", "destroyed"), rows))


def _show_event(settings: Settings, event: KeyEvent) -> None:
    if settings.json:
        print_json(event)
        return
    time = event.time.isoformat(timespec="milliseconds") if event.time is not None else "-"
    version = f" version {event.version} {event.state.name}" if event.version else ""
    click.echo(f"{time} revision {event.revision} {event.type.name} {event.name}{version}")
