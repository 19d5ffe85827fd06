"""`qkms keys import-parameters`, `import` and `export`: material that comes in or goes out, wrapped."""

from pathlib import Path
from uuid import UUID

import click

from qkms.wrapping import Method
from qkms_client.cli import options
from qkms_client.cli.data import read_data, write_data
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.cli.records import show_versions

METHODS = {"rsa-oaep-sha256": Method.RSA_OAEP_SHA256, "mlkem768-aes-kwp": Method.MLKEM768_AES_KWP}

_method = click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="mlkem768-aes-kwp",
    show_default=True,
    help="How material is wrapped. RSA does not outlive a quantum computer.",
)


@click.command("import-parameters")
@click.argument("key")
@_method
@click.option("--public-out", required=True, help="New file for the public key (RSA: DER, ML-KEM: raw).")
@options.request_id
@options.common
def import_parameters(settings: Settings, key: str, method: str, public_out: str, request_id: UUID | None) -> None:
    """A one-time public key, to wrap material under elsewhere; prints the name to import it by.

    \b
    Example, with openssl:
      qkms keys import-parameters payments --method rsa-oaep-sha256 --public-out pub.der
      openssl pkeyutl -encrypt -pubin -keyform DER -inkey pub.der -in material -out wrapped \\
        -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256
      qkms keys import payments --parameters NAME --in wrapped
    """
    with settings.client() as client:
        parameters = client.get_import_parameters(key, METHODS[method], request_id=request_id)
    write_data(public_out, parameters.public_key, encoded=False)
    if settings.json:
        print_json(parameters)
    else:
        click.echo(parameters.name)


@click.command("import")
@click.argument("key")
@options.input_file
@options.encoded
@click.option("--parameters", metavar="NAME", help="The input is wrapped already, under these import parameters.")
@_method
@options.request_id
@options.common
def import_(
    settings: Settings,
    key: str,
    source: str,
    encoded: bool,
    parameters: str | None,
    method: str,
    request_id: UUID | None,
) -> None:
    """Stage material from outside as a version of grade IMPORTED: validate and activate it next.

    Without --parameters the input is the material in clear, which is wrapped here; --request-id
    goes with --parameters only.
    """
    if request_id is not None and parameters is None:
        raise click.UsageError("--request-id needs --parameters: wrapping again would make it another request")
    data = read_data(source, encoded=encoded)
    with settings.client() as client:
        if parameters is not None:
            done = client.import_wrapped(parameters, data, request_id=request_id)
        else:
            done = client.import_version(key, data, METHODS[method])
    show_versions(settings, [done], single=True)


@click.command()
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="Whom to wrap to (RSA: DER SubjectPublicKeyInfo, ML-KEM: raw).",
)
@_method
@options.output_file
@options.encoded
@options.common
def export(
    settings: Settings, key: str, version: int, public_key: Path, method: str, target: str, encoded: bool
) -> None:
    """The material of a version of an exportable key, wrapped to a public key; never in clear."""
    with settings.client() as client:
        wrapped = client.export_wrapped(key, version, method=METHODS[method], public_key=public_key.read_bytes())
    write_data(target, wrapped, encoded=encoded)


TRANSPORT = (import_parameters, import_, export)
