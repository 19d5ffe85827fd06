"""Passphrases, PINs and recovery shares: from files, from stdin or typed unseen, never from arguments.

Arguments show in the list of processes and in the shell's history, and the
environment in /proc.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from qkms.recovery import PREFIX

Command = TypeVar("Command", bound=Callable[..., Any])

STREAM = "-"


def passphrase_file(command: Command) -> Command:
    """Adds --passphrase-file."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        help='Read the passphrase from the first line of FILE, "-" for stdin.',
    )(command)


def share_files(command: Command) -> Command:
    """Adds --share-file."""
    return click.option(
        "--share-file",
        "share_files",
        multiple=True,
        metavar="FILE",
        help="A file with one or more recovery shares; may be repeated. Default: typed, or lines of stdin.",
    )(command)


def read_secret(source: str | None, what: str, *, confirm: bool = False) -> bytes:
    """A secret of one line: from `source`, or typed twice if it is new. Raises click.UsageError."""
    if source is not None:
        text = _content(source)
        line = text.split(b"\n", 1)[0].removesuffix(b"\r")
    elif sys.stdin.isatty():
        typed: str = click.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
        line = typed.encode()
    else:
        raise click.UsageError(f"the {what.lower()} is needed: give a file, or run this at a terminal")
    if not line:
        raise click.UsageError(f"the {what.lower()} is empty")
    return line


def read_shares(sources: tuple[str, ...]) -> list[str]:
    """The share texts of files, of stdin, or typed unseen. Raises click.UsageError."""
    if sources:
        found = [share for source in sources for share in shares_of(_content(source))]
    elif sys.stdin.isatty():
        found = []
        while text := click.prompt(
            f"Share {len(found) + 1} (empty: no more)", hide_input=True, default="", show_default=False, err=True
        ):
            found.append(text)
    else:
        found = shares_of(_content(STREAM))
    if not found:
        raise click.UsageError(f"no recovery share was given; one begins with {PREFIX}")
    return found


def shares_of(text: bytes) -> list[str]:
    """The lines of a text that are recovery shares by how they begin."""
    lines = (line.strip() for line in text.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line.lower().startswith(PREFIX)]


def _content(source: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if source == STREAM else Path(source).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {source}: {error.strerror}") from error
