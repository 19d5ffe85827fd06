"""What every KME's HTTP answer is read with, whatever protocol it speaks: JSON, refusals, key ids. Pure.

A refusal becomes the LinkError it amounts to, by our own stable code, else by its words, else by its status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, cast

import msgspec

from qkms_qkd.errors import LINK_ERROR_CODES, LinkError, LinkErrorCode
from qkms_qkd.unreadable import UNREADABLE

MAX_KEY_ID_CHARACTERS = 128
_MAX_QUOTED_CHARACTERS = 200
_EXHAUSTED_WORDS = ("exhaust", "insufficient", "not enough", "no key", "not available", "unavailable key")
_NOT_FOUND_WORDS = ("not found", "unknown key", "no such key", "does not exist")
_NONE: Mapping[int, LinkErrorCode] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status code, Content-Type and body of an answer. The body may hold keys: no repr."""

    status: int
    content_type: str
    body: bytes

    def __repr__(self) -> str:
        return f"HttpAnswer(status={self.status}, body=<{len(self.body)} bytes redacted>)"


_Form = TypeVar("_Form", bound=msgspec.Struct)


def decoded(
    kme: str, answer: HttpAnswer, form: type[_Form], standard: str, bare: Mapping[int, LinkErrorCode] = _NONE
) -> _Form:
    """The body of a 200 as this form; `standard` names it in the error. See `refusal`. Raises LinkError."""
    if answer.status != 200:
        raise refusal(kme, answer, bare)
    try:
        return msgspec.json.decode(answer.body, type=form, strict=False)
    except UNREADABLE as error:
        raise LinkError(
            kme,
            "KME_BAD_ANSWER",
            f"answered 200 with {_form(answer)} that is not the format of {standard} ({error})",
        ) from None


def refusal(kme: str, answer: HttpAnswer, bare: Mapping[int, LinkErrorCode] = _NONE) -> LinkError:
    """The error that an answer other than 200 amounts to; `bare` says what a status means that gives no reason."""
    if answer.status in (401, 403):
        return LinkError(
            kme,
            "KME_UNAUTHORIZED",
            f"answered {answer.status}: it does not take us for a party of this request; check which SAE it "
            "knows our certificate as, and that the key was drawn for it",
        )
    body = _refusal_fields(answer)
    if body is None and answer.status in bare:
        return LinkError(kme, bare[answer.status], f"answered {answer.status} without a reason; look at its log")
    if body is None:
        return LinkError(kme, "KME_BAD_ANSWER", f"answered {answer.status} with {_form(answer)}; look at its log")
    message, code = body
    words = message.lower()
    if code is not None:
        return LinkError(kme, code, message)
    if any(hint in words for hint in _NOT_FOUND_WORDS):
        return LinkError(kme, "KEY_NOT_FOUND", f"answered {answer.status}: {message}")
    if any(hint in words for hint in _EXHAUSTED_WORDS):
        return LinkError(kme, "STORE_EXHAUSTED", f"answered {answer.status}: {message}")
    if answer.status in (400, 422):
        return LinkError(kme, "KME_REFUSED", f"answered {answer.status}: {message}")
    return LinkError(kme, "KME_BAD_ANSWER", f"answered {answer.status}: {message}")


def _refusal_fields(answer: HttpAnswer) -> tuple[str, LinkErrorCode | None] | None:
    """The message and our own stable code of a refusal; None when the body has no message."""
    try:
        body = msgspec.json.decode(answer.body)
    except UNREADABLE:
        return None
    if not isinstance(body, dict):
        return None
    message = body.get("message", body.get("detail"))
    if message is None:
        return None
    # A foreign KME's words end in our logs: one printable line of bounded length.
    text = "".join(c if c.isprintable() else " " for c in str(message)[:_MAX_QUOTED_CHARACTERS])
    details = body.get("details")
    for detail in details if isinstance(details, list) else []:
        code = detail.get("code") if isinstance(detail, dict) else None
        if isinstance(code, str) and code in LINK_ERROR_CODES:
            return text, cast(LinkErrorCode, code)
    return text, None


def _form(answer: HttpAnswer) -> str:
    if not answer.body:
        return "an empty body"
    kind = answer.content_type.partition(";")[0].strip()[:40]
    return f"{len(answer.body)} bytes of {kind if kind.isprintable() and kind else 'no stated type'}"


def check_key_id(kme: str, key_id: str) -> None:
    """Raises LinkError unless the id is one that may stand in a log and a URL."""
    if not (0 < len(key_id) <= MAX_KEY_ID_CHARACTERS and key_id.isascii() and key_id.isprintable()):
        raise LinkError(
            kme,
            "KME_BAD_ANSWER",
            f"a key_ID is not 1 to {MAX_KEY_ID_CHARACTERS} printable ASCII characters; no key of it was used",
        )
