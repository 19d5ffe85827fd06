"""A TOML file of a KME as a strict record, every error naming its field. Left out: what the record means."""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

_Form = TypeVar("_Form", bound=msgspec.Struct)
_WHERE = re.compile(r"(?P<what>.*?)(?: - at `(?P<where>[^`]*)`)?\Z", re.DOTALL)
_MISSING_OR_UNKNOWN = re.compile(r"Object (?P<problem>missing required|contains unknown) field `(?P<name>[^`]*)`")


class SettingsError(Exception):
    """A setting is missing or wrong; the message starts with the field's name."""

    code = "SETTINGS"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def read_bytes(path: Path) -> bytes:
    """What the file holds. Raises SettingsError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(str(path), f"cannot be read ({error.strerror})") from None


def decoded_toml(text: bytes, form: type[_Form]) -> _Form:
    """This TOML text (UTF-8) as the form. Raises SettingsError."""
    try:
        return msgspec.toml.decode(text, type=form)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError("file", f"is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError("file", "is nested too deeply") from None
    except ValueError:  # Python refuses to read a number of more than 4,300 digits
        raise SettingsError("file", "has a number with far too many digits") from None


def _named(message: str) -> SettingsError:
    parts = _WHERE.match(message)
    what, where = (parts["what"], parts["where"] or "$") if parts else (message, "$")
    field = where.removeprefix("$").removeprefix(".")
    found = _MISSING_OR_UNKNOWN.match(what)
    if found is None:
        return SettingsError(field or "file", what[:1].lower() + what[1:])
    name = f"{field}.{found['name']}" if field else found["name"]
    return SettingsError(name, "is required" if found["problem"] == "missing required" else "is not a setting")
