"""`qkms backup`: save, verify and restore the whole cluster's keys."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click

from qkms_client.backup_file import OpenedBackup, open_backup, read_info
from qkms_client.backup_file import verify as verify_file
from qkms_client.cli import options, secrets
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.root_types import BackupInfo

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def backup() -> None:
    """Encrypted backups: of the recovery shares' holders, or of a passphrase."""


@backup.command()
@click.argument("file", type=FILE)
@click.option(
    "--passphrase", "by_passphrase", is_flag=True, help="Under a passphrase instead of the recovery key."
)
@secrets.passphrase_file
@click.option("--node", help="Take it from this node. Default: any.")
@options.common
def save(
    settings: Settings, file: Path, by_passphrase: bool, passphrase_file: str | None, node: str | None
) -> None:
    """Write all keys at one revision to FILE while the cluster goes on working.

    The passphrase never leaves this machine.
    """
    wanted = by_passphrase or passphrase_file is not None
    passphrase = secrets.read_secret(passphrase_file, "Passphrase", confirm=True) if wanted else None
    with settings.client() as client:
        size = _written(file, lambda write: client.save_backup(write, passphrase=passphrase, node=node))
    with file.open("rb") as source:
        info = read_info(source)
    _show(settings, info, f"{file}: {info.key_count} keys at revision {info.revision}, {size} bytes")


@backup.command()
@click.argument("file", type=FILE)
@secrets.passphrase_file
@secrets.share_files
@options.common
def verify(settings: Settings, file: Path, passphrase_file: str | None, share_files: tuple[str, ...]) -> None:
    """Read FILE to its end with its key and check every byte. Needs no cluster."""
    with _reading(file) as source:
        check = verify_file(source, _opened(source, passphrase_file, share_files))
    info = check.info
    _show(
        settings,
        info,
        f"{file}: whole; {info.key_count} keys of cluster {info.cluster_id} at revision {info.revision}, "
        f"{check.records} records in {check.size} bytes",
    )


@backup.command()
@click.argument("file", type=FILE)
@click.option("--node", help="Restore through this node. Default: the first of the profile.")
@secrets.passphrase_file
@secrets.share_files
@options.common
def restore(
    settings: Settings, file: Path, node: str | None, passphrase_file: str | None, share_files: tuple[str, ...]
) -> None:
    """Bring the keys of FILE into a new cluster; one that has keys refuses.

    Nothing counts before the last part has arrived. A new root epoch follows by itself.
    """
    with _reading(file) as source, settings.client() as client:
        passphrase, shares = _key(source, passphrase_file, share_files)
        result = client.restore_backup(
            source, node or client.endpoints[0], passphrase=passphrase, shares=shares, timeout=settings.timeout
        )
    if settings.json:
        print_json(result)
    else:
        click.echo(f"{result.key_count} keys restored through {result.node_id}; see qkms status for the root")


def _opened(source: BinaryIO, passphrase_file: str | None, share_files: tuple[str, ...]) -> OpenedBackup:
    passphrase, shares = _key(source, passphrase_file, share_files)
    return open_backup(source, passphrase, shares)


def _key(
    source: BinaryIO, passphrase_file: str | None, share_files: tuple[str, ...]
) -> tuple[bytes | None, list[str]]:
    """What opens this backup, asked for as its header says."""
    info = read_info(source)
    if info.recovery_set_id:
        click.echo(f"this backup opens with shares of recovery set {info.recovery_set_id}", err=True)
        return None, secrets.read_shares(share_files)
    return secrets.read_secret(passphrase_file, "Passphrase"), []


def _reading(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror}") from error


def _written(file: Path, save_to: Callable[[Callable[[bytes], object]], int]) -> int:
    """Writes a new file of mode 0600, durably; nothing is left of one that was not finished."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise click.UsageError(f"{file} exists already; choose another file") from error
    except OSError as error:
        raise click.UsageError(f"cannot write {file}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as target:
            size = save_to(target.write)
            target.flush()
            os.fsync(target.fileno())
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return size


def _show(settings: Settings, info: BackupInfo, text: str) -> None:
    if settings.json:
        print_json(info)
    else:
        click.echo(text)
