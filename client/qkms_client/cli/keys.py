"""`qkms keys`: keys, their versions, their events."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import click

from qkms_client.cli import options
from qkms_client.cli.data import pairs
from qkms_client.cli.options import GRADES, Settings
from qkms_client.cli.output import print_json
from qkms_client.cli.records import show_event, show_keys, show_versions
from qkms_client.consistency import Consistency
from qkms_client.types import Algorithm, KeyState, VersionState

KEY_STATES = {s.name.lower(): s for s in KeyState if s}
VERSION_STATES = {s.name.lower(): s for s in VersionState if s}


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
@click.option("--prefer-qkd", is_flag=True, help="Rotate it once the root has QKD again, if it was made without.")
@click.option("--refuse-relays", is_flag=True, help="Refuse a root whose QKD keys have passed trusted relays.")
@options.max_qber
@click.option(
    "--max-staleness",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long a node cut off from the others may go on using the key. 0: every use asks a quorum.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@options.rotation_period
@click.option("--exportable", is_flag=True, help="Its material may be exported, wrapped. Cannot be changed later.")
@click.option("--deletion-protection", is_flag=True, help="Refuse to destroy it.")
@click.option("--allow-compromised-decrypt", is_flag=True, help="Compromised versions still decrypt.")
@click.option("--no-version", is_flag=True, help="Without a version: the first one is staged or imported.")
@options.request_id
@options.common
def create(
    settings: Settings,
    key_id: str,
    algorithm: str,
    required_grade: str | None,
    prefer_qkd: bool,
    refuse_relays: bool,
    max_qber: float | None,
    max_staleness: float | None,
    labels: tuple[str, ...],
    rotation_period: timedelta | None,
    exportable: bool,
    deletion_protection: bool,
    allow_compromised_decrypt: bool,
    no_version: bool,
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
            max_staleness=None if max_staleness is None else timedelta(seconds=max_staleness),
            labels=pairs(labels, "--label"),
            rotation_period=rotation_period,
            exportable=exportable,
            deletion_protection=deletion_protection,
            allow_compromised_decrypt=allow_compromised_decrypt,
            skip_initial_version=no_version,
            prefer_qkd=prefer_qkd,
            refuse_relays=refuse_relays,
            max_qber=max_qber or 0.0,
            request_id=request_id,
        )
    show_keys(settings, [key], single=True)


@keys.command()
@click.argument("key")
@options.consistency
@options.common
def get(settings: Settings, key: str, consistency: Consistency | None) -> None:
    """Show one key."""
    with settings.client() as client:
        show_keys(settings, [client.get_key(key, consistency=consistency)], single=True)


@keys.command("list")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only with this label; may be repeated."
)
@click.option("--algorithm", help="Only of this algorithm, such as AES_256_GCM.")
@click.option("--prefix", default="", help="Only names that begin so.")
@click.option("--state", type=click.Choice(list(KEY_STATES)), help="Deleted keys are only listed when asked for.")
@options.consistency
@options.common
def list_(
    settings: Settings,
    labels: tuple[str, ...],
    algorithm: str | None,
    prefix: str,
    state: str | None,
    consistency: Consistency | None,
) -> None:
    """List the keys that you may see."""
    wanted = pairs(labels, "--label")
    with settings.client() as client:
        try:
            found = client.list_keys(
                labels=wanted,
                algorithm=algorithm,
                prefix=prefix,
                state=KEY_STATES[state] if state else None,
                consistency=consistency,
            )
            show_keys(settings, list(found))
        except ValueError as error:
            raise click.UsageError(f"--algorithm {algorithm}: {error}") from error


@keys.command()
@click.argument("key")
@click.option("--state", "states", multiple=True, type=click.Choice(list(VERSION_STATES)), help="May be repeated.")
@options.consistency
@options.common
def versions(settings: Settings, key: str, states: tuple[str, ...], consistency: Consistency | None) -> None:
    """List the versions of a key, with their states and grades."""
    wanted = [VERSION_STATES[s] for s in states]
    with settings.client() as client:
        show_versions(settings, client.list_versions(key, states=wanted, consistency=consistency))


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
@click.argument("version", type=click.IntRange(1), required=False)
@options.request_id
@options.common
def disable(settings: Settings, key: str, version: int | None, request_id: UUID | None) -> None:
    """Suspend a version, or without VERSION the whole key: it is not used until enabled."""
    with settings.client() as client:
        if version is None:
            show_keys(settings, [client.disable_key(key, request_id=request_id)], single=True)
            return
        show_versions(settings, [client.disable_version(key, version, request_id=request_id)], single=True)


@keys.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1), required=False)
@options.request_id
@options.common
def enable(settings: Settings, key: str, version: int | None, request_id: UUID | None) -> None:
    """End the suspension of a version, or without VERSION of the key."""
    with settings.client() as client:
        if version is None:
            show_keys(settings, [client.enable_key(key, request_id=request_id)], single=True)
            return
        show_versions(settings, [client.enable_version(key, version, request_id=request_id)], single=True)


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
    show_versions(settings, [done], single=True)


@keys.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@options.request_id
@options.common
def restore(settings: Settings, key: str, version: int, request_id: UUID | None) -> None:
    """Take back a scheduled destruction; the version is then suspended."""
    with settings.client() as client:
        show_versions(settings, [client.restore_version(key, version, request_id=request_id)], single=True)


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
    token = resume_token(token_file) if token_file is not None and token_file.exists() else None
    with settings.client() as client, client.watch_keys(key, resume_token=token or None) as events:
        for number, event in enumerate(events, start=1):
            show_event(settings, event)
            if token_file is not None and events.resume_token is not None:
                token_file.write_text(events.resume_token)
            if number == count:
                return


def resume_token(path: Path) -> str:
    """The token that a watch left in a file. Raises click.UsageError."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no token"
        raise click.UsageError(f"{path}: cannot be read: {why}; remove it to watch from now on") from None
