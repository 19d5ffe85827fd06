"""Results as text for people, or as JSON for programs. Never a secret.

JSON: one object or array per result; times in RFC 3339, durations in seconds,
enumerations by name, bytes in hexadecimal.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias

import click

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_LEFT_OUT = frozenset({"header"})


def plain(value: Any) -> Json:
    """A record of `types` as JSON values. Raises TypeError for anything else, a secret result above all."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if not value.__dataclass_params__.repr:  # type: ignore[attr-defined]
            raise TypeError(f"a {type(value).__name__} holds a secret and is not printed")
        return {
            f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in _LEFT_OUT
        }
    match value:
        case None | bool() | str():
            return value
        case Enum():
            return value.name
        case int() | float():
            return value
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case Mapping():
            return {str(name): plain(content) for name, content in value.items()}
        case Sequence():
            return [plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} is not printed")


def print_json(value: Any, *, err: bool = False) -> None:
    """One line of JSON, on stdout or on stderr."""
    click.echo(json.dumps(plain(value), ensure_ascii=False), err=err)


def deleted(as_json: bool, name: str) -> None:
    """Says that a record is gone."""
    if as_json:
        print_json({"deleted": name})
    else:
        click.echo(f"{name} deleted")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns in capitals, cells left-aligned, `-` for what is not known."""
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case timedelta():
            return f"{value.total_seconds():g} s"
        case float():
            return f"{value:.4g}"
    return str(value)
