"""`qkms keys import-parameters`, `import` and `export`: material that comes in or goes out, wrapped."""

from pathlib import Path
from uuid import UUID

import click

from qkms.errors import InvalidInput
from qkms.wrapping import Method
from qkms_client.cli import options
from qkms_client.cli.data import read_data, write_data
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.cli.records import show_versions
from qkms_client.cli.secrets import passphrase_file, read_secret
from qkms_client.private_keys import needs_passphrase, to_pkcs8
from qkms_client.sync.client import Client
from qkms_client.types import KeyVersion

METHODS = {method.name.lower().replace("_", "-"): method for method in Method}

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

    rsa-oaep-sha256-aes-kwp is what AWS KMS calls RSA_AES_KEY_WRAP_SHA_256 and Google Cloud KMS
    RSA_OAEP_4096_SHA256_AES_256; it takes private keys. rsa-oaep-sha256 takes up to 318 bytes.

    \b
    Example, with openssl and a private key in PEM:
      qkms keys import-parameters signing --method rsa-oaep-sha256-aes-kwp --public-out pub.der
      openssl rand -out once 32
      openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER | openssl enc -id-aes256-wrap-pad \\
        -iv A65959A6 -K $(od -An -v -tx1 once | tr -d ' \\n') -out sealed
      openssl pkeyutl -encrypt -pubin -keyform DER -inkey pub.der -in once \\
        -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 |
        cat - sealed > wrapped
      qkms keys import signing --parameters NAME --in wrapped
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
@passphrase_file
@options.request_id
@options.common
def import_(
    settings: Settings,
    key: str,
    source: str,
    encoded: bool,
    parameters: str | None,
    method: str,
    passphrase_file: str | None,
    request_id: UUID | None,
) -> None:
    """Stage material from outside as a version of grade IMPORTED: validate and activate it next.

    Without --parameters the input is the material in clear, which is wrapped here: a symmetric key as
    its bytes, a private key in PEM or DER, encrypted or not; its passphrase is asked for, or read from
    --passphrase-file. --request-id goes with --parameters only.

    \b
    Examples:
      qkms keys create signing --algorithm ECDSA_P256_SHA256 --no-version
      qkms keys import signing --in key.pem
      qkms keys validate signing 1 && qkms keys activate signing 1
    """
    if request_id is not None and parameters is None:
        raise click.UsageError("--request-id needs --parameters: wrapping again would make it another request")
    if passphrase_file is not None and parameters is not None:
        raise click.UsageError("--passphrase-file is for a private key in clear, --parameters for what is wrapped")
    data = read_data(source, encoded=encoded)
    material = data if parameters is not None else _material(data, passphrase_file)
    with settings.client() as client:
        if parameters is not None:
            done = client.import_wrapped(parameters, material, request_id=request_id)
        else:
            done = _imported(client, key, material, METHODS[method])
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
    """The material of a version of an exportable key, wrapped to a public key; never in clear.

    What is wrapped is what import takes: a symmetric key as its bytes, a private key as PKCS #8 in DER.
    """
    with settings.client() as client:
        wrapped = client.export_wrapped(key, version, method=METHODS[method], public_key=public_key.read_bytes())
    write_data(target, wrapped, encoded=encoded)


def _imported(client: Client, key: str, material: bytes, method: Method) -> KeyVersion:
    try:
        return client.import_version(key, material, method)
    except InvalidInput as error:
        raise click.UsageError(str(error)) from None


def _material(data: bytes, passphrase_source: str | None) -> bytes:
    passphrase = None
    if needs_passphrase(data):
        passphrase = read_secret(passphrase_source, "Passphrase of the private key")
    return to_pkcs8(data, passphrase)


TRANSPORT = (import_parameters, import_, export)
