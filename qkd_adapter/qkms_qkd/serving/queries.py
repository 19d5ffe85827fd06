"""What both faces for SAEs read from the query of a request. Raises RefusedError for what does not fit."""

from aiohttp import web

from qkms_qkd.serving.supply import RefusedError

_MAX_QUOTED_CHARACTERS = 64


def only(request: web.Request, names: frozenset[str], hint: str = "") -> None:
    """Raises RefusedError unless the query has these parameters only, each at most once."""
    for name in request.query:
        if name not in names:
            raise RefusedError(f"query parameter {name[:_MAX_QUOTED_CHARACTERS]} is not defined here{hint}")
        if len(request.query.getall(name)) > 1:
            raise RefusedError(f"query parameter {name} is given twice")


def integer(request: web.Request, name: str) -> int | None:
    """A parameter of up to 9 decimal digits; None when absent. Raises RefusedError."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise RefusedError(f"{name} shall be an integer")
    return int(text)
