"""`qkms sign`, `verify`, `mac`, `verify-mac`, `public-key`: authentication on files and pipes."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from qkms_client.cli import options
from qkms_client.cli.data import raw_to_terminal, read_data, text, write_data
from qkms_client.cli.failure import UNTRUSTED
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.consistency import Consistency
from qkms_client.types import PublicKeyFormat, Verification

Command = TypeVar("Command", bound=Callable[..., Any])


def manner(command: Command) -> Command:
    """Adds --digested, --signature-context and --p1363."""
    for option in (
        click.option("--p1363", is_flag=True, help="ECDSA: the signature as r || s (as in JWS), not in DER."),
        click.option(
            "--signature-context",
            default="",
            metavar="TEXT",
            help="ML-DSA and SLH-DSA: bound into the signature; up to 255 bytes.",
        ),
        click.option(
            "--digested",
            is_flag=True,
            help="The input is the message's digest, raw: SHA-256, for P-384 SHA-384, for ML-DSA mu.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@manner
@options.consistency
@options.common
def sign(
    settings: Settings,
    key: str,
    source: str,
    target: str,
    encoded: bool,
    digested: bool,
    signature_context: str,
    p1363: bool,
    consistency: Consistency | None,
) -> None:
    """Sign up to 64 KiB with a key's primary version; of a longer message, its digest.

    The signature is as the algorithm's standard writes it, so that any library verifies it with
    `qkms public-key`. The version is shown on stderr: keep it, `qkms verify` needs it.

    \b
    Examples:
      qkms keys create releases --algorithm ML_DSA_65
      qkms sign releases --in app.tar --out app.sig
      openssl dgst -sha256 -binary big.iso | qkms sign images --digested --base64
    """
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    message, context = read_data(source, encoded=False), signature_context.encode()
    with settings.client() as client:
        made = client.sign(key, message, digested=digested, context=context, p1363=p1363, consistency=consistency)
    if settings.json:
        print_json({"signature": text(made.signature), "version": made.version, "grade": made.grade.name})
        return
    write_data(target, made.signature, encoded=encoded)
    click.echo(f"version {made.version}", err=True)


@click.command()
@click.argument("key")
@options.input_file
@click.option("--signature", required=True, metavar="FILE", help="The signature.")
@click.option("--version", type=click.IntRange(1), required=True, help="The version that sign named.")
@click.option("--base64", "encoded", is_flag=True, help="The signature is base64 text, not raw.")
@manner
@options.consistency
@options.common
def verify(
    settings: Settings,
    key: str,
    source: str,
    signature: str,
    version: int,
    encoded: bool,
    digested: bool,
    signature_context: str,
    p1363: bool,
    consistency: Consistency | None,
) -> None:
    """Whether a signature is that of the message. Exit code 0 if it is, 6 if not.

    \b
    Example:
      qkms verify releases --in app.tar --signature app.sig --version 3
    """
    message, made = read_data(source, encoded=False), read_data(signature, encoded=encoded)
    with settings.client() as client:
        result = client.verify(
            key,
            message,
            made,
            version=version,
            digested=digested,
            context=signature_context.encode(),
            p1363=p1363,
            consistency=consistency,
        )
    _show(settings, result, "signature")


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@options.consistency
@options.common
def mac(
    settings: Settings, key: str, source: str, target: str, encoded: bool, consistency: Consistency | None
) -> None:
    """Authenticate up to 64 KiB with a key of HMAC_SHA256 or HMAC_SHA512.

    The version is shown on stderr: keep it, `qkms verify-mac` needs it.

    \b
    Example:
      qkms mac webhooks --in body.json --base64
    """
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    data = read_data(source, encoded=False)
    with settings.client() as client:
        made = client.mac(key, data, consistency=consistency)
    if settings.json:
        print_json({"mac": text(made.mac), "version": made.version, "grade": made.grade.name})
        return
    write_data(target, made.mac, encoded=encoded)
    click.echo(f"version {made.version}", err=True)


@click.command("verify-mac")
@click.argument("key")
@options.input_file
@click.option("--mac", "made", required=True, metavar="FILE", help="The MAC.")
@click.option("--version", type=click.IntRange(1), required=True, help="The version that mac named.")
@click.option("--base64", "encoded", is_flag=True, help="The MAC is base64 text, not raw.")
@options.consistency
@options.common
def verify_mac(
    settings: Settings,
    key: str,
    source: str,
    made: str,
    version: int,
    encoded: bool,
    consistency: Consistency | None,
) -> None:
    """Whether a MAC is that of the data. Exit code 0 if it is, 6 if not.

    \b
    Example:
      qkms verify-mac webhooks --in body.json --mac body.mac --version 1
    """
    data, given = read_data(source, encoded=False), read_data(made, encoded=encoded)
    with settings.client() as client:
        result = client.verify_mac(key, data, given, version=version, consistency=consistency)
    _show(settings, result, "MAC")


@click.command("public-key")
@click.argument("key")
@click.option("--version", type=click.IntRange(1), help="Of which version. Default: the primary one.")
@click.option(
    "--raw", is_flag=True, help="Binary: SubjectPublicKeyInfo in DER; of X25519MLKEM768 both keys, joined."
)
@options.output_file
@options.consistency
@options.common
def public_key(
    settings: Settings, key: str, version: int | None, raw: bool, target: str, consistency: Consistency | None
) -> None:
    """The public half of a key, in PEM: to verify, encrypt or encapsulate without the cluster.

    Without --version, the version is shown on stderr: decrypt and decapsulate need it.

    \b
    Example:
      qkms public-key releases --version 3 --out releases-3.pem
    """
    raw_to_terminal(target, encoded=not raw, json=settings.json)
    with settings.client() as client:
        found = client.get_public_key(key, version=version, consistency=consistency)
    if settings.json:
        shown = {"public_key": text(found.public_key), "format": found.format.name, "algorithm": found.algorithm}
        print_json({**shown, "version": found.version, "grade": found.grade.name})
        return
    if not raw and found.format is not PublicKeyFormat.SPKI_DER:
        raise click.UsageError(f"a key of {found.algorithm} has no PEM form; add --raw, or --json")
    write_data(target, found.public_key if raw else found.pem().encode(), encoded=False)
    if version is None:
        click.echo(f"version {found.version}", err=True)


def _show(settings: Settings, result: Verification, what: str) -> None:
    if settings.json:
        print_json({"valid": result.valid, "version": result.version})
    else:
        click.echo(f"{what} {'valid' if result else 'NOT valid'}, version {result.version}")
    if not result:
        click.get_current_context().exit(UNTRUSTED)
