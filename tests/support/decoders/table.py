"""A row of the table of decoders, and how a file or a text becomes a function of bytes."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory(prefix="qkms-decoders-")
"""Files of the decoders of files; gone when the process ends."""


@dataclass(frozen=True)
class Decoder:
    """A function of bytes, a sample, and the families of its refusals.

    `modules` are those whose decoding this row reaches. The sample is taken, or with `refused` refused.
    `regressions`: bytes that once ended in something else than a refusal.
    """

    name: str
    modules: tuple[str, ...]
    decode: Callable[[bytes], object] = field(repr=False)
    sample: bytes = field(repr=False)
    refusals: tuple[type[Exception], ...] = ()
    refused: bool = False
    regressions: tuple[bytes, ...] = field(default=(), repr=False)


def text(decode: Callable[[str], object]) -> Callable[[bytes], object]:
    """A decoder of text: bytes stand for characters, so that every one of them is met."""
    return lambda raw: decode(raw.decode("latin-1"))


def folder(name: str) -> Path:
    """A folder for one row."""
    made = Path(FOLDER.name) / name.replace(" ", "-")
    made.mkdir()
    return made


def file(path: Path, decode: Callable[[], object]) -> Callable[[bytes], object]:
    """A decoder of the file at `path`."""

    def decoded(raw: bytes) -> object:
        path.touch(mode=0o600)
        path.write_bytes(raw)
        return decode()

    return decoded
