"""JSON lines of `qkms encrypt --batch` and `decrypt --batch`: one item to a line, in and out.

A line is read strictly: an unknown name is refused, because a mistyped `context`
would encrypt without one. Bytes are base64. A line that cannot be read becomes
an error of its own, so that line n of the output belongs to line n of the input.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from qkms_client.errors import QkmsError

INPUT_INVALID = "INPUT_INVALID"
MAX_LINE_BYTES = 512 * 1024
"""More than any item has that a node takes: 64 KiB of plaintext are 88 KiB of base64."""
_READ_BYTES = 256 * 1024
_MAX_VERSION = 2**32 - 1


class LineInvalid(Exception):
    """A line that is no item. Its message quotes nothing of the line, which may be secret."""


@dataclass(frozen=True)
class LineItem:
    """One item; `echo` are the members that the output line has again."""

    data: bytes = field(repr=False)
    context: Mapping[str, str]
    aad: bytes
    version: int | None
    echo: Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """What a line has: the name of its `data`, further names that are read, and those given back."""

    data: str
    others: frozenset[str]
    echoed: tuple[str, ...]


ENCRYPT = Form("plaintext", frozenset({"id", "context", "aad"}), ("id", "context", "aad"))
"""What a ciphertext is bound to is given back, so that the output is the input of decrypt."""
DECRYPT = Form("ciphertext", frozenset({"id", "context", "aad", "version", "grade"}), ("id",))


def read_lines(file: BinaryIO) -> Iterator[list[bytes | None]]:
    """Lists of lines as they come, without their ends; None for one that is too long.

    A list has what could be read without waiting, so that a slow producer is served at once.
    Holds one line and one read in memory, whatever the input has.
    """
    read = getattr(file, "read1", file.read)
    rest, too_long = b"", False
    while chunk := read(_READ_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        lines: list[bytes | None] = [line if len(line) <= MAX_LINE_BYTES else None for line in whole]
        if lines and too_long:
            lines[0], too_long = None, False
        if len(rest) > MAX_LINE_BYTES:
            rest, too_long = b"", True
        if lines:
            yield lines
    if rest or too_long:
        yield [None if too_long else rest]


def parsed(line: bytes | None, form: Form, context: Mapping[str, str], aad: bytes) -> LineItem:
    """The item of a line; `context` and `aad` are for those that have none. Raises LineInvalid."""
    if line is None:
        raise LineInvalid(f"the line has more than {MAX_LINE_BYTES} bytes")
    members = _object(line)
    unknown = set(members) - form.others - {form.data}
    if unknown:
        known = ", ".join(sorted({form.data, *form.others}))
        raise LineInvalid(f"the line has a name that is not known; there are: {known}")
    if form.data not in members:
        raise LineInvalid(f"the line has no {form.data}")
    if not isinstance(members.get("id", ""), str | int):
        raise LineInvalid("id is neither a string nor an integer")
    return LineItem(
        data=_bytes(members, form.data),
        context=_context(members["context"]) if "context" in members else context,
        aad=_bytes(members, "aad") if "aad" in members else aad,
        version=_version(members.get("version")),
        echo={name: members[name] for name in form.echoed if name in members},
    )


def line_id(line: bytes | None) -> dict[str, Any]:
    """The id of a line that is no item, if it has one: for its error."""
    try:
        found = _object(line or b"").get("id")
    except LineInvalid:
        return {}
    return {"id": found} if isinstance(found, str | int) else {}


def failed(code: str, message: str, echo: Mapping[str, Any]) -> bytes:
    """The output line of an item that failed."""
    return written({**{k: v for k, v in echo.items() if k == "id"}, "error": {"code": code, "message": message}})


def failed_by(error: QkmsError, echo: Mapping[str, Any]) -> bytes:
    """The output line of an item that a node refused."""
    return failed(error.reason, error.message, echo)


def written(members: Mapping[str, Any]) -> bytes:
    """One line of output. In ASCII: whatever reads it, a name cannot end the line."""
    return json.dumps(members).encode("ascii") + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        members = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # Not chained: the text of the error may quote the line.
        raise LineInvalid("the line is not one JSON object with each name once") from None
    if not isinstance(members, dict):
        raise LineInvalid("the line is not one JSON object with each name once")
    return members


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bytes(members: Mapping[str, Any], name: str) -> bytes:
    value = members[name]
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise LineInvalid(f"{name} is not a string of base64")


def _context(value: object) -> Mapping[str, str]:
    if isinstance(value, dict) and all(isinstance(content, str) for content in value.values()):
        try:
            for text in (*value, *value.values()):
                text.encode("utf-8")
        except UnicodeEncodeError:
            raise LineInvalid("context has half a character") from None
        return value
    raise LineInvalid("context is not an object of strings")


def _version(value: object) -> int | None:
    if value is None or (type(value) is int and 1 <= value <= _MAX_VERSION):
        return value
    raise LineInvalid("version is not the number of a version")
