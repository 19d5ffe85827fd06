"""Bodies of HTTP messages, to a KME and between KMEs, as the forms they must have. Pure."""

from typing import TypeVar

import msgspec

_Form = TypeVar("_Form", bound=msgspec.Struct)


class BodyUnreadable(Exception):
    """The body is not the form asked for; the message goes on after "the request"."""

    code = "BODY_UNREADABLE"


def decoded(body: bytes, form: type[_Form]) -> _Form:
    """The body as a form. Raises BodyUnreadable."""
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise BodyUnreadable(f"does not fit the data format: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BodyUnreadable("body is not JSON") from None
