"""Data in and out of commands: files or stdin and stdout, raw or base64. Binary safe.

Output files are made new with mode 0600, because they may hold a secret, and an
existing file is never written over.
"""

import base64
import binascii
import os
import sys
from pathlib import Path
from typing import BinaryIO

import click

STREAM = "-"


def read_data(source: str, *, encoded: bool) -> bytes:
    """The bytes of a file, or of stdin for "-". `encoded`: they are base64, white space ignored.

    Raises click.UsageError when the file cannot be read or is not base64.
    """
    try:
        data = sys.stdin.buffer.read() if source == STREAM else Path(source).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {source}: {error.strerror}") from error
    if not encoded:
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        # Not chained: the input may be a secret.
        raise click.UsageError(
            f"{'stdin' if source == STREAM else source} is not base64; leave out --base64 for raw bytes"
        ) from None


def write_data(target: str, data: bytes, *, encoded: bool) -> None:
    """Writes bytes to a new file, or to stdout for "-"; `encoded` as one line of base64.

    Raises click.UsageError when the file exists or cannot be written.
    """
    out = base64.b64encode(data) + b"\n" if encoded else data
    if target == STREAM:
        sys.stdout.buffer.write(out)
        sys.stdout.buffer.flush()
        return
    with new_file(target) as file:
        file.write(out)


def new_file(target: str) -> BinaryIO:
    """A new file, for its owner only. Raises click.UsageError when it exists or cannot be made."""
    try:
        # Exclusive and private from the first byte: a chmod afterwards would leave a moment to read it.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise click.UsageError(f"{target} exists already; choose another file") from error
    except OSError as error:
        raise click.UsageError(f"cannot write {target}: {error.strerror}") from error
    return os.fdopen(descriptor, "wb")


def raw_to_terminal(target: str, *, encoded: bool, json: bool) -> None:
    """Raises click.UsageError where raw bytes would be shown on a terminal."""
    if target == STREAM and not encoded and not json and sys.stdout.isatty():
        raise click.UsageError("raw bytes would garble the terminal; add --base64, or --out FILE")


def text(data: bytes) -> str:
    """Base64, for JSON and for people."""
    return base64.b64encode(data).decode("ascii")


def pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    """`name=value` options as a mapping. Raises click.UsageError."""
    mapping: dict[str, str] = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} {value!r} must be name=value")
        if name in mapping:
            raise click.UsageError(f"{option} {name} is given twice")
        mapping[name] = content
    return mapping
