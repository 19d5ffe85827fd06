"""`qkms rewrap-file`: many ciphertexts brought under the primary version, with progress, and resumable."""

import base64
import binascii
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from qkms_client.cli import options
from qkms_client.cli.data import pairs
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json

TOLD_EVERY_S = 2.0


@click.command("rewrap-file")
@click.argument("key")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="New file, of the same form; with --resume the one that was begun.",
)
@click.option("--resume", is_flag=True, help="Go on after the last whole line of the output.")
@click.option("--in-flight", type=click.IntRange(1, 64), default=8, show_default=True, help="Calls at once.")
@options.context
@click.option("--aad", default="", help="The text given when they were encrypted.")
@options.common
def rewrap_file(
    settings: Settings,
    key: str,
    source: Path,
    target: Path,
    resume: bool,
    in_flight: int,
    context: tuple[str, ...],
    aad: str,
) -> None:
    """Bring the ciphertexts of a file under a key's primary version; one per line, in base64.

    The order stays, and what is under the primary version already is copied. Progress goes to
    stderr. When it ends early, run it again with --resume.

    \b
    Example:
      qkms rewrap-file payments cards.sealed --out cards.sealed.new --context tenant=7
    """
    bound = pairs(context, "--context")
    with source.open("rb") as lines:
        total = sum(1 for _ in lines)
    done = _begun(target) if resume else 0
    changed = 0
    told = time.monotonic()
    with _opened(target, resume) as file, settings.client() as client:
        rewrapped = client.rewrap_all(
            key, ciphertexts(source, done), context=bound, aad=aad.encode(), in_flight=in_flight
        )
        for result in rewrapped:
            file.write(base64.b64encode(result.ciphertext) + b"\n")
            file.flush()
            done += 1
            changed += result.source_version != result.version
            if time.monotonic() - told >= TOLD_EVERY_S:
                told = time.monotonic()
                click.echo(f"{done} of {total}", err=True)
    if settings.json:
        print_json({"total": total, "done": done, "changed": changed})
    else:
        click.echo(f"{done} of {total} ciphertexts, {changed} brought under the primary version", err=True)


def ciphertexts(source: Path, skipped: int) -> Iterator[bytes]:
    """The ciphertexts of a file after those that are done. Raises click.UsageError."""
    with source.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number <= skipped:
                continue
            try:
                yield base64.b64decode(line.strip(), validate=True)
            except (binascii.Error, ValueError):
                raise click.UsageError(f"{source}: line {number} is not base64") from None


def _begun(target: Path) -> int:
    """The whole lines of an output that was begun; half a line at its end is cut off."""
    if not target.exists():
        return 0
    data = target.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(target, whole)
    return data.count(b"\n")


def _opened(target: Path, resume: bool) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if resume else os.O_EXCL)
    try:
        return os.fdopen(os.open(target, flags, 0o600), "wb")
    except FileExistsError as error:
        raise click.UsageError(f"{target} exists already; choose another file, or --resume") from error
    except OSError as error:
        raise click.UsageError(f"cannot write {target}: {error.strerror}") from error
