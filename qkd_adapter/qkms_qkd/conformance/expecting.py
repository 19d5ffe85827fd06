"""What the tables of cases expect of an answer; each raises DeviationError with what came instead. Pure."""

import base64
import binascii
from typing import Any

import msgspec

from qkms_qkd.answers import HttpAnswer
from qkms_qkd.conformance.runner import DeviationError
from qkms_qkd.unreadable import UNREADABLE


def expect(holds: bool, otherwise: str) -> None:
    """Raises DeviationError with this text unless it holds."""
    if not holds:
        raise DeviationError(otherwise)


def status(answer: HttpAnswer, *allowed: int) -> None:
    """The status is one of these."""
    expect(
        answer.status in allowed,
        f"answered {answer.status} instead of {' or '.join(str(code) for code in allowed)}",
    )


def json_object(answer: HttpAnswer, code: int = 200) -> dict[str, Any]:
    """The JSON object of an answer of this status and of type application/json."""
    status(answer, code)
    kind = answer.content_type.partition(";")[0].strip().lower()
    expect(kind == "application/json", f"answered with type {kind[:40]!r} instead of application/json")
    try:
        body = msgspec.json.decode(answer.body)
    except UNREADABLE:
        raise DeviationError("the body is not JSON") from None
    expect(isinstance(body, dict), "the body is not a JSON object")
    return dict(body)


def member(body: dict[str, Any], name: str, kind: type) -> Any:
    """A field of this type."""
    expect(name in body, f"{name} is missing")
    value = body[name]
    right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    expect(right, f"{name} is {type(value).__name__} instead of {kind.__name__}")
    return value


def from_hex(text: str, name: str) -> bytes:
    """The bytes of hexadecimal digits."""
    digits = frozenset("0123456789abcdefABCDEF")
    expect(
        bool(text) and digits.issuperset(text) and len(text) % 2 == 0, f"{name} is not whole bytes in hexadecimal"
    )
    return bytes.fromhex(text)


def from_base64(text: str, name: str) -> bytes:
    """The bytes of base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DeviationError(f"{name} is not base64") from None
