"""What `--batch` does: lines into batches of calls, their results into lines, in order, in bounded memory."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import click

from qkms.carrying import MAX_BATCH_BYTES, MAX_BATCH_CALLS
from qkms_client import batch
from qkms_client.batch import Item
from qkms_client.cli.data import STREAM, new_file, text
from qkms_client.cli.failure import SOME_FAILED
from qkms_client.cli.lines import (
    DECRYPT,
    ENCRYPT,
    INPUT_INVALID,
    Form,
    LineInvalid,
    LineItem,
    failed,
    failed_by,
    line_id,
    parsed,
    read_lines,
    written,
)
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json
from qkms_client.consistency import Consistency
from qkms_client.errors import QkmsError, Retryable
from qkms_client.secret import Decrypted
from qkms_client.sync.client import Client
from qkms_client.types import Encrypted

TOLD_EVERY_S = 2.0


@dataclass(frozen=True)
class Work:
    """How items become calls, and results lines. `context` and `aad`: of items that have none."""

    form: Form
    item: Callable[[LineItem], Item[Any]]
    result: Callable[[Any], Mapping[str, Any]]
    context: Mapping[str, str]
    aad: bytes


def encryption(key: str, context: Mapping[str, str], aad: bytes, consistency: Consistency | None) -> Work:
    """The work of `qkms encrypt --batch`."""

    def item(line: LineItem) -> Item[Encrypted]:
        return batch.encrypt(key, line.data, context=line.context, aad=line.aad, consistency=consistency)

    def result(made: Encrypted) -> dict[str, str | int]:
        return {"ciphertext": text(made.ciphertext), "version": made.version, "grade": made.grade.name}

    return Work(ENCRYPT, item, result, context, aad)


def decryption(
    key: str, version: int | None, context: Mapping[str, str], aad: bytes, consistency: Consistency | None
) -> Work:
    """The work of `qkms decrypt --batch`. `version`: of items that have none."""

    def item(line: LineItem) -> Item[Decrypted]:
        number = version if line.version is None else line.version
        return batch.decrypt(
            key, line.data, version=number, context=line.context, aad=line.aad, consistency=consistency
        )

    def result(opened: Decrypted) -> dict[str, str | int]:
        return {"plaintext": text(opened.plaintext), "version": opened.version}

    return Work(DECRYPT, item, result, context, aad)


class _Progress:
    def __init__(self) -> None:
        self.items = self.failed = 0
        self._begun = self._told = time.monotonic()
        self._shown = sys.stderr.isatty()

    def add(self, items: int, failures: int) -> None:
        self.items += items
        self.failed += failures
        now = time.monotonic()
        if self._shown and now - self._told >= TOLD_EVERY_S:
            self._told = now
            rate = self.items / (now - self._begun)
            click.echo(f"{self.items} items, {self.failed} failed, {rate:.0f} a second", err=True)


def run(settings: Settings, source: str, target: str, work: Work, *, encoded: bool) -> None:
    """Works on lines until they end. `encoded`: --base64 was given.

    Raises QkmsError where the cluster cannot serve, SystemExit where items failed, click.UsageError.
    """
    if encoded:
        raise click.UsageError("leave out --base64: with --batch all bytes are base64")
    progress = _Progress()
    with _opened(source) as lines, _created(target) as out, settings.client() as client:
        for some in read_lines(lines):
            for chunk in chunks(some):
                answers, failures = _answered(client, chunk, work, progress.items)
                out.write(b"".join(answers))
                out.flush()
                progress.add(len(chunk), failures)
    if settings.json:
        print_json({"items": progress.items, "failed": progress.failed}, err=target == STREAM)
    elif progress.failed:
        click.echo(f"qkms: {progress.failed} of {progress.items} items failed; their lines say why", err=True)
    if progress.failed:
        raise SystemExit(SOME_FAILED)


def chunks(lines: Sequence[bytes | None]) -> Iterator[Sequence[bytes | None]]:
    """The lines in parts that fit a message, as far as their lengths tell."""
    begin, size = 0, 0
    for number, line in enumerate(lines):
        length = len(line or b"")
        if number > begin and (number - begin == MAX_BATCH_CALLS or size + length > MAX_BATCH_BYTES):
            yield lines[begin:number]
            begin, size = number, 0
        size += length
    yield lines[begin:]


def _answered(client: Client, lines: Sequence[bytes | None], work: Work, done: int) -> tuple[list[bytes], int]:
    """A line of output for each of `lines`, and how many failed. Raises Retryable where every call ended so."""
    items: dict[int, LineItem] = {}
    answers: dict[int, bytes] = {}
    for number, line in enumerate(lines):
        try:
            items[number] = parsed(line, work.form, work.context, work.aad)
        except LineInvalid as problem:
            answers[number] = failed(INPUT_INVALID, str(problem), line_id(line))
    results = client.batch([work.item(item) for item in items.values()]) if items else []
    unserved = [result for result in results if isinstance(result, Retryable)]
    if unserved and len(unserved) == len(results):
        click.echo(f"qkms: {done} lines are done; go on with the input after line {done}", err=True)
        raise unserved[0]
    failures = len(answers)
    for (number, item), result in zip(items.items(), results, strict=True):
        if isinstance(result, QkmsError):
            failures += 1
            answers[number] = failed_by(result, item.echo)
        else:
            answers[number] = written({**item.echo, **work.result(result)})
    return [answers[number] for number in range(len(lines))], failures


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == STREAM:
        yield sys.stdin.buffer
        return
    try:
        descriptor = os.open(source, os.O_RDONLY)
    except OSError as error:
        raise click.UsageError(f"cannot read {source}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def _created(target: str) -> Iterator[BinaryIO]:
    if target == STREAM:
        yield sys.stdout.buffer
        return
    with new_file(target) as file:
        yield file
