"""What both faces for SAEs read from a request: who asks, and the parameters of its query."""

from aiohttp import web

from qkms_qkd.identity import sae_id
from qkms_qkd.kme.delivery import RefusedError
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.web import peer_certificate

_MAX_QUOTED_CHARACTERS = 64


def own_sae(request: web.Request, settings: Settings) -> str | None:
    """The SAE of this KME that the caller's certificate speaks for; None for anybody else."""
    caller = sae_id(peer_certificate(request), settings.kme.sae_identity)
    return caller if caller is not None and settings.kme_of(caller) == settings.kme.id else None


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
