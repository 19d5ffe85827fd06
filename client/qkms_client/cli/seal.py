"""`qkms seal` and `qkms unseal`: one node or all."""

import click

from qkms_client.cli import options, secrets
from qkms_client.cli.failure import exit_code
from qkms_client.cli.options import Settings
from qkms_client.cli.output import plain, print_json, table
from qkms_client.errors import QkmsError
from qkms_client.sync.client import Client
from qkms_client.types import SealStatus

Answer = SealStatus | QkmsError


@click.command()
@click.option("--node", help="The node to seal.")
@click.option(
    "--all", "everywhere", is_flag=True, help="Every node of the profile: the cluster then serves no key."
)
@click.option("--even-if-last", is_flag=True, help="Mode peers: also where no other node holds the root.")
@options.common
def seal(settings: Settings, node: str | None, everywhere: bool, even_if_last: bool) -> None:
    """Wipe roots and keys from the memory of a node, over restarts too, until it is unsealed.

    A sealed node goes on replicating and needs no quorum to be sealed. Calls that need a key
    end with SEALED there.
    """
    with settings.client() as client:
        answers: dict[str, Answer] = {}
        for each in _nodes(client, node, everywhere):
            try:
                answers[each] = client.seal(each, even_if_last=even_if_last, timeout=_limit(settings, client))
            except QkmsError as error:
                answers[each] = error
    _show(settings, answers)


@click.command()
@click.option("--node", help="The node to unseal.")
@click.option("--all", "everywhere", is_flag=True, help="Every sealed node of the profile, with the same secret.")
@click.option("--secret-file", metavar="FILE", help='Passphrase or PIN: the first line of FILE, "-" for stdin.')
@options.common
def unseal(settings: Settings, node: str | None, everywhere: bool, secret_file: str | None) -> None:
    """Open the root store of a sealed node.

    Asks for the passphrase or PIN if the node needs one. The passphrase of a node that has no root
    store yet becomes the one it is sealed under.
    """
    with settings.client() as client:
        nodes = _nodes(client, node, everywhere)
        secret = _secret(client, nodes, secret_file, _limit(settings, client))
        answers: dict[str, Answer] = {}
        for each in nodes:
            try:
                answers[each] = client.unseal(each, secret, timeout=settings.timeout)
            except QkmsError as error:
                answers[each] = error
    _show(settings, answers)


def _nodes(client: Client, node: str | None, everywhere: bool) -> list[str]:
    if (node is None) != everywhere:
        raise click.UsageError("say which: --node NODE or --all")
    return [node] if node is not None else list(client.endpoints)


def _limit(settings: Settings, client: Client) -> float:
    return settings.timeout or client.profile.attempt_timeout_s


def _secret(client: Client, nodes: list[str], source: str | None, limit: float) -> bytes:
    known: list[SealStatus] = []
    for node in nodes:
        try:
            status = client.status(node, timeout=limit).seal
        except QkmsError:
            continue
        if status is not None and status.sealed and status.needs_secret:
            known.append(status)
    if source is None and not known:
        return b""
    new = any(status.mode == "passphrase" and not status.stored for status in known)
    what = "PIN" if known and all(status.mode == "pkcs11" for status in known) else "Passphrase"
    return secrets.read_secret(source, what, confirm=new)


def _show(settings: Settings, answers: dict[str, Answer]) -> None:
    failures = [answer for answer in answers.values() if isinstance(answer, QkmsError)]
    if settings.json:
        print_json(
            {
                node: {"error": {"reason": a.reason, "message": a.message}}
                if isinstance(a, QkmsError)
                else plain(a)
                for node, a in answers.items()
            }
        )
    else:
        rows = [
            (node, None, None, a) if isinstance(a, QkmsError) else (node, a.mode, _word(a), a.reason)
            for node, a in answers.items()
        ]
        click.echo(table(("node", "mode", "state", "note"), rows))
    if failures:
        raise click.exceptions.Exit(exit_code(failures[0]))


def _word(status: SealStatus) -> str:
    return "sealed" if status.sealed else "open"
