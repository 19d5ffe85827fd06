"""`qkms recovery`: shares that open a cluster whose nodes lost every root."""

from pathlib import Path

import click

from qkms_client.cli import options, secrets
from qkms_client.cli.data import write_data
from qkms_client.cli.failure import exit_code, explanation
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.errors import OutcomeUnknown, QkmsError
from qkms_client.root_types import RecoveryShares


@click.group()
def recovery() -> None:
    """Recovery shares: any few of them, together, open the root when no node can."""


@recovery.command()
@click.option("--shares", type=click.IntRange(2, 255), default=5, show_default=True, help="How many to make.")
@click.option("--threshold", type=click.IntRange(2, 255), default=3, show_default=True, help="How many open.")
@click.option("--replace", metavar="SET", help="The set id of the present shares, which then open nothing more.")
@click.option(
    "--out-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Write each share to a file of its own there. Default: print them.",
)
@options.common
def init(settings: Settings, shares: int, threshold: int, replace: str | None, out_dir: Path | None) -> None:
    """Make a recovery key and share it out. The shares are shown once and kept nowhere.

    Give each to another person or safe. Whoever holds enough of them can open every key.
    """
    if threshold > shares:
        raise click.UsageError(f"--threshold {threshold} is more than --shares {shares}")
    with settings.client() as client:
        try:
            made = client.init_recovery(shares, threshold, replace=replace)
        except OutcomeUnknown:
            click.echo(
                "qkms: it is not known whether the new recovery key was set; its shares are lost either way:\n"
                "  see `qkms recovery show`, then run init again with --replace for the set it shows",
                err=True,
            )
            raise
    _give_out(settings, made, out_dir)


@recovery.command()
@options.common
def show(settings: Settings) -> None:
    """The present set of shares, and the root epochs it opens."""
    with settings.client() as client:
        known = client.get_recovery()
    if settings.json:
        print_json(known)
    elif not known.set_id:
        click.echo("there is no recovery key: make one with qkms recovery init")
    else:
        epochs = ", ".join(map(str, known.epochs)) or "none yet"
        click.echo(
            f"set {known.set_id}: any {known.threshold} of {known.share_count} shares open root epochs {epochs}"
        )


@recovery.command()
@secrets.share_files
@options.common
def verify(settings: Settings, share_files: tuple[str, ...]) -> None:
    """Try shares without effect: which root epochs they would open."""
    texts = secrets.read_shares(share_files)
    with settings.client() as client:
        epochs = client.verify_recovery(texts)
    if settings.json:
        print_json({"epochs": list(epochs)})
    else:
        click.echo(f"the shares open root epochs {', '.join(map(str, epochs)) or 'none'}")


@recovery.command("open")
@secrets.share_files
@click.option("--node", "nodes", multiple=True, help="Hand the roots to this node; may be repeated. Default: all.")
@options.common
def open_(settings: Settings, share_files: tuple[str, ...], nodes: tuple[str, ...]) -> None:
    """Open the root with enough shares and hand it to the nodes, each over its own sealed way.

    Nodes must run and be unsealed. One node that takes the roots is enough: the others are then
    given theirs by it.
    """
    texts = secrets.read_shares(share_files)
    opened: dict[str, list[int]] = {}
    failures: list[QkmsError] = []
    with settings.client() as client:
        for node in nodes or client.endpoints:
            try:
                opened[node] = list(client.open_recovery(node, texts, timeout=settings.timeout))
            except QkmsError as error:
                failures.append(error)
                click.echo(f"{node}: {explanation(error)}", err=True)
    if settings.json:
        print_json(opened)
    else:
        for node, epochs in opened.items():
            click.echo(f"{node} holds root epochs {', '.join(map(str, epochs))}")
    if not opened:
        raise click.exceptions.Exit(exit_code(failures[0]))


def _give_out(settings: Settings, made: RecoveryShares, out_dir: Path | None) -> None:
    heads = [
        f"share {number} of {len(made.texts)} of recovery set {made.set_id}; any {made.threshold} open it"
        for number in range(1, len(made.texts) + 1)
    ]
    if out_dir is not None:
        for number, (head, text) in enumerate(zip(heads, made.texts, strict=True), start=1):
            target = out_dir / f"recovery-{made.set_id}-{number}.txt"
            write_data(str(target), f"# {head}\n{text}\n".encode(), encoded=False)
            click.echo(str(target))
    elif settings.json:
        print_json({"set_id": made.set_id, "threshold": made.threshold, "shares": list(made.texts)})
    else:
        for head, text in zip(heads, made.texts, strict=True):
            click.echo(f"# {head}\n{text}\n")
