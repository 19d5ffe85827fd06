"""`qkms encrypt`, `decrypt`, `rewrap`, `datakey`, `derive`, `random`: use of secret keys on files and pipes."""

import click

from qkms_client.cli import many as many_items
from qkms_client.cli import options
from qkms_client.cli.data import pairs, raw_to_terminal, read_data, text, write_data
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
@options.batch
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
    many: bool,
    consistency: Consistency | None,
) -> None:
    """Encrypt up to 64 KiB under a key's primary version.

    --base64 is the form of the ciphertext; the plaintext is read as it is. A key of RSA_*_OAEP_SHA256
    takes 318 or 446 bytes, no --context and no --aad, and needs its version again to decrypt: --json
    shows it.

    With --batch each line is a JSON object: plaintext and, as needed, id, context, aad. The output has a
    line for each, in order: ciphertext, version, grade, and what decrypt --batch needs again; or error
    with code and message. --context and --aad are for lines without their own. Exit code 7: some failed.
    When the cluster cannot be reached it ends with 4 and says after which line to go on.

    \b
    Examples:
      qkms encrypt payments --in card.txt --out card.sealed
      echo -n secret | qkms encrypt payments --base64 --context tenant=7
      jq -c '{id, plaintext: (.card | @base64), context: {tenant: .tenant}}' rows.json |
        qkms encrypt payments --batch > sealed.jsonl
    """
    bound = pairs(context, "--context")
    if many:
        work = many_items.encryption(key, bound, aad.encode(), consistency)
        many_items.run(settings, source, target, work, encoded=encoded)
        return
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    plaintext = read_data(source, encoded=False)
    with settings.client() as client:
        result = client.encrypt(key, plaintext, context=bound, aad=aad.encode(), consistency=consistency)
    if settings.json:
        grade = result.grade.name
        print_json({"ciphertext": text(result.ciphertext), "version": result.version, "grade": grade})
    else:
        write_data(target, result.ciphertext, encoded=encoded)


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@options.context
@click.option("--aad", default="", help="The text given when it was encrypted.")
@click.option("--version", type=click.IntRange(1), help="Needed for RSA-OAEP only: the version that encrypted.")
@options.batch
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
    version: int | None,
    many: bool,
    consistency: Consistency | None,
) -> None:
    """Decrypt what encrypt or datakey gave.

    --base64 is the form of the ciphertext; the plaintext is written as it is.

    With --batch each line is a JSON object as encrypt --batch writes it: ciphertext and, as needed, id,
    context, aad, version. The output has a line for each, in order: id, plaintext, version; or error with
    code and message. Exit codes as of encrypt --batch.

    \b
    Examples:
      qkms decrypt payments --in card.sealed --out card.txt
      qkms decrypt payments --base64 --context tenant=7 < sealed.b64
      qkms decrypt payments --batch < sealed.jsonl | jq -r 'select(.plaintext) | .plaintext | @base64d'
    """
    bound = pairs(context, "--context")
    if many:
        work = many_items.decryption(key, version, bound, aad.encode(), consistency)
        many_items.run(settings, source, target, work, encoded=encoded)
        return
    ciphertext = read_data(source, encoded=encoded)
    with settings.client() as client:
        result = client.decrypt(
            key, ciphertext, version=version, context=bound, aad=aad.encode(), consistency=consistency
        )
    if settings.json:
        print_json({"plaintext": text(result.plaintext), "version": result.version})
    else:
        write_data(target, result.plaintext, encoded=False)


@click.command()
@click.argument("key")
@options.input_file
@options.output_file
@options.encoded
@options.context
@click.option("--aad", default="", help="The text given when it was encrypted.")
@options.consistency
@options.common
def rewrap(
    settings: Settings,
    key: str,
    source: str,
    target: str,
    encoded: bool,
    context: tuple[str, ...],
    aad: str,
    consistency: Consistency | None,
) -> None:
    """Bring a ciphertext under the key's primary version, without showing its plaintext.

    What is under the primary version already comes back as it is. --base64 is the form of both
    ciphertexts. Rewrap everything after a rotation, then the old version can be destroyed.

    \b
    Examples:
      qkms rewrap payments --in card.sealed --out card.sealed.new
      qkms rewrap payments --base64 --context tenant=7 < sealed.b64
    """
    bound = pairs(context, "--context")
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    ciphertext = read_data(source, encoded=encoded)
    with settings.client() as client:
        result = client.rewrap(key, ciphertext, context=bound, aad=aad.encode(), consistency=consistency)
    if settings.json:
        numbers = {"version": result.version, "source_version": result.source_version}
        print_json({"ciphertext": text(result.ciphertext), **numbers, "grade": result.grade.name})
        return
    write_data(target, result.ciphertext, encoded=encoded)
    click.echo(f"version {result.source_version} -> {result.version}", err=True)


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
            shown[name] = text(data)
    if settings.json:
        print_json(shown)
    else:
        click.echo("\n".join(f"{name}: {value}" for name, value in shown.items()))


@click.command()
@click.argument("key")
@options.context
@click.option("--version", type=click.IntRange(1), help="Of which version. Default: the primary one.")
@click.option("--length", type=click.IntRange(16, 1024), default=32, show_default=True, help="Bytes.")
@options.output_file
@options.encoded
@options.consistency
@options.common
def derive(
    settings: Settings,
    key: str,
    context: tuple[str, ...],
    version: int | None,
    length: int,
    target: str,
    encoded: bool,
    consistency: Consistency | None,
) -> None:
    """The key derived from a version for a context: the same inputs give the same key.

    Keys of different --length have nothing in common.

    Without --version, the version used is shown on stderr: keep it to derive the same key after a rotation.

    \b
    Example:
      qkms derive payments --context tenant=7 --version 1 --out tenant7.key
    """
    if not context:
        raise click.UsageError("give at least one --context NAME=VALUE")
    bound = pairs(context, "--context")
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    with settings.client() as client:
        result = client.derive_key(key, bound, version=version, length=length, consistency=consistency)
    if settings.json:
        print_json({"key": text(result.key), "version": result.version, "grade": result.grade.name})
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
    raw_to_terminal(target, encoded=encoded, json=settings.json)
    with settings.client() as client:
        data = client.random_bytes(length)
    if settings.json:
        print_json({"data": text(data)})
    else:
        write_data(target, data, encoded=encoded)
