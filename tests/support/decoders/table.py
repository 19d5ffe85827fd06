"""A row of the table of decoders, and how a file or a text becomes a function of bytes."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory(prefix="qkms-decoders-")
"""Files of the decoders of files; gone when the process ends."""

NO_TOML = (b"\xff", b"a = " + b"[" * 5_000, b"a" + b".a" * 2_000 + b" = 1", b"a = " + b"9" * 5_000)
"""What parsers of TOML stumble over."""


@dataclass(frozen=True, repr=False)
class Decoder:
    """A function of bytes, a sample, and the families of its refusals.

    `modules` are those whose decoding this row reaches. The sample is taken, or with `refused` refused.
    `regressions`: bytes that once ended in something else than a refusal.
    """

    name: str
    modules: tuple[str, ...]
    decode: Callable[[bytes], object]
    sample: bytes
    refusals: tuple[type[Exception], ...] = ()
    refused: bool = False
    regressions: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Decoder({self.name})"


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
