"""`qkms encapsulate`, `decapsulate`: shared secrets under post-quantum keys."""

import click

from qkms_client.cli import options
from qkms_client.cli.data import raw_to_terminal, read_data, text, write_data
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.consistency import Consistency


@click.command()
@click.argument("key")
@click.option("--secret-out", help="New file (mode 0600) for the 32 bytes in clear; they are then not printed.")
@click.option("--ciphertext-out", help="New file for the ciphertext; it is then not printed.")
@options.consistency
@options.common
def encapsulate(
    settings: Settings,
    key: str,
    secret_out: str | None,
    ciphertext_out: str | None,
    consistency: Consistency | None,
) -> None:
    """A fresh shared secret, in clear and as a ciphertext that only `qkms decapsulate` opens.

    For keys of ML_KEM_768, ML_KEM_1024 and X25519MLKEM768. Prints in base64 what goes to no file.
    Keep the version: decapsulate needs it.

    \b
    Examples:
      qkms keys create inbox --algorithm X25519MLKEM768
      qkms encapsulate inbox --secret-out s --ciphertext-out s.kem
    """
    with settings.client() as client:
        made = client.encapsulate(key, consistency=consistency)
    shown: dict[str, str | int] = {"version": made.version, "grade": made.grade.name}
    for name, data, target in (
        ("shared_secret", made.shared_secret, secret_out),
        ("ciphertext", made.ciphertext, ciphertext_out),
    ):
        if target is not None:
            write_data(target, data, encoded=False)
        else:
            shown[name] = text(data)
    if settings.json:
        print_json(shown)
    else:
        click.echo("\n".join(f"{name}: {value}" for name, value in shown.items()))


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@click.option("--version", type=click.IntRange(1), required=True, help="The version that it was made for.")
@options.consistency
@options.common
def decapsulate(
    settings: Settings,
    key: str,
    source: str,
    target: str,
    encoded: bool,
    version: int,
    consistency: Consistency | None,
) -> None:
    """The shared secret of a ciphertext. --base64 is the form of both.

    A ciphertext that was altered, or made for another key, gives another secret and no error:
    what is encrypted under the secret then does not open.

    \b
    Example:
      qkms decapsulate inbox --in s.kem --version 1 --out s
    """
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    ciphertext = read_data(source, encoded=encoded)
    with settings.client() as client:
        result = client.decapsulate(key, ciphertext, version=version, consistency=consistency)
    if settings.json:
        print_json({"shared_secret": text(result.shared_secret), "version": result.version})
    else:
        write_data(target, result.shared_secret, encoded=encoded)
