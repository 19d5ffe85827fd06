"""`qkms encrypt`, `decrypt`, `datakey`, `derive`, `random`: use of keys on files and pipes."""

import base64
import sys

import click

from qkms_client.cli import options
from qkms_client.cli.data import STREAM, pairs, read_data, write_data
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.consistency import Consistency


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@options.context
@click.option("--aad", default="", help="Text authenticated with the data, needed again to decrypt.")
@options.consistency
@options.common
def encrypt(
    settings: Settings,
    key: str,
    source: str,
    target: str,
    encoded: bool,
    context: tuple[str, ...],
    aad: str,
    consistency: Consistency | None,
) -> None:
    """Encrypt up to 64 KiB under a key's primary version.

    --base64 is the form of the ciphertext; the plaintext is read as it is.

    \b
    Examples:
      qkms encrypt payments --in card.txt --out card.sealed
      echo -n secret | qkms encrypt payments --base64 --context tenant=7
    """
    bound = pairs(context, "--context")
    _raw_to_terminal(settings, target, encoded)
    plaintext = read_data(source, encoded=False)
    with settings.client() as client:
        result = client.encrypt(key, plaintext, context=bound, aad=aad.encode(), consistency=consistency)
    if settings.json:
        grade = result.grade.name
        print_json({"ciphertext": _text(result.ciphertext), "version": result.version, "grade": grade})
    else:
        write_data(target, result.ciphertext, encoded=encoded)


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@options.context
@click.option("--aad", default="", help="The text given when it was encrypted.")
@options.consistency
@options.common
def decrypt(
    settings: Settings,
    key: str,
    source: str,
    target: str,
    encoded: bool,
    context: tuple[str, ...],
    aad: str,
    consistency: Consistency | None,
) -> None:
    """Decrypt what encrypt or datakey gave.

    --base64 is the form of the ciphertext; the plaintext is written as it is.

    \b
    Examples:
      qkms decrypt payments --in card.sealed --out card.txt
      qkms decrypt payments --base64 --context tenant=7 < sealed.b64
    """
    bound = pairs(context, "--context")
    ciphertext = read_data(source, encoded=encoded)
    with settings.client() as client:
        result = client.decrypt(key, ciphertext, context=bound, aad=aad.encode(), consistency=consistency)
    if settings.json:
        print_json({"plaintext": _text(result.plaintext), "version": result.version})
    else:
        write_data(target, result.plaintext, encoded=False)


@click.command()
@click.argument("key")
@options.context
@click.option("--plaintext-out", help="New file (mode 0600) for the 32 bytes in clear; they are then not printed.")
@click.option("--ciphertext-out", help="New file for the encrypted data key; it is then not printed.")
@click.option("--without-plaintext", is_flag=True, help="Only the encrypted form, for later use.")
@options.consistency
@options.common
def datakey(
    settings: Settings,
    key: str,
    context: tuple[str, ...],
    plaintext_out: str | None,
    ciphertext_out: str | None,
    without_plaintext: bool,
    consistency: Consistency | None,
) -> None:
    """A fresh data key to encrypt large data with: in clear, and encrypted to be kept with the data.

    Prints both in base64. `qkms decrypt` opens the encrypted form again.

    \b
    Example:
      qkms datakey payments --plaintext-out dk --ciphertext-out dk.sealed
    """
    if without_plaintext and plaintext_out is not None:
        raise click.UsageError("--without-plaintext leaves nothing for --plaintext-out")
    bound = pairs(context, "--context")
    with settings.client() as client:
        made = client.generate_data_key(
            key, context=bound, without_plaintext=without_plaintext, consistency=consistency
        )
    shown: dict[str, str | int] = {"version": made.version, "grade": made.grade.name}
    for name, data, target in (
        ("plaintext", made.plaintext, plaintext_out),
        ("ciphertext", made.ciphertext, ciphertext_out),
    ):
        if target is not None:
            write_data(target, data, encoded=False)
        elif data:
            shown[name] = _text(data)
    if settings.json:
        print_json(shown)
    else:
        click.echo("\n".join(f"{name}: {value}" for name, value in shown.items()))


@click.command()
@click.argument("key")
@options.context
@click.option("--version", type=click.IntRange(1), help="Of which version. Default: the primary one.")
@options.output_file
@options.encoded
@options.consistency
@options.common
def derive(
    settings: Settings,
    key: str,
    context: tuple[str, ...],
    version: int | None,
    target: str,
    encoded: bool,
    consistency: Consistency | None,
) -> None:
    """The 32-byte key derived from a version for a context: the same inputs give the same key.

    Without --version, the version used is shown on stderr: keep it to derive the same key after a rotation.

    \b
    Example:
      qkms derive payments --context tenant=7 --version 1 --out tenant7.key
    """
    if not context:
        raise click.UsageError("give at least one --context NAME=VALUE")
    bound = pairs(context, "--context")
    _raw_to_terminal(settings, target, encoded)
    with settings.client() as client:
        result = client.derive_key(key, bound, version=version, consistency=consistency)
    if settings.json:
        print_json({"key": _text(result.key), "version": result.version, "grade": result.grade.name})
        return
    write_data(target, result.key, encoded=encoded)
    if version is None:
        click.echo(f"version {result.version}", err=True)


@click.command()
@click.argument("length", type=click.IntRange(1, 65536))
@options.output_file
@options.encoded
@options.common
def random(settings: Settings, length: int, target: str, encoded: bool) -> None:
    """LENGTH random bytes (1 to 65536) from a node's generator.

    \b
    Example:
      qkms random 32 --base64
    """
    _raw_to_terminal(settings, target, encoded)
    with settings.client() as client:
        data = client.random_bytes(length)
    if settings.json:
        print_json({"data": _text(data)})
    else:
        write_data(target, data, encoded=encoded)


def _raw_to_terminal(settings: Settings, target: str, encoded: bool) -> None:
    if target == STREAM and not encoded and not settings.json and sys.stdout.isatty():
        raise click.UsageError("raw bytes would garble the terminal; add --base64, or --out FILE")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
