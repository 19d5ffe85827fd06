"""Page tokens (AIP-158): opaque, and bound to the listing they continue.

A token carries where the page before ended and a digest of the request's
filter: with another filter it would skip or repeat entries, so it is refused.
It grants nothing, so it is not authenticated.
"""

import base64
import binascii
import hashlib

from google.protobuf.message import Message

from qkms_node.errors import InvalidField

_MARK = b"p1"
_DIGEST_BYTES = 8


def token(request: Message, after: str) -> str:
    """The token that continues the listing of `request` after `after`."""
    return base64.urlsafe_b64encode(_MARK + _digest(request) + after.encode()).decode()


def after(request: Message, page_token: str) -> str:
    """Where the listing of `request` goes on; empty without a token. Raises InvalidField."""
    if not page_token:
        return ""
    try:
        data = base64.b64decode(page_token, altchars=b"-_", validate=True)
        place = data[len(_MARK) + _DIGEST_BYTES :].decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidField("page_token", "is not one that a listing gave out") from error
    if not data.startswith(_MARK) or not place:
        raise InvalidField("page_token", "is not one that a listing gave out")
    if data[len(_MARK) :][:_DIGEST_BYTES] != _digest(request):
        raise InvalidField("page_token", "belongs to a listing with another filter; begin again without a token")
    return place


def _digest(request: Message) -> bytes:
    listing = type(request)()
    listing.CopyFrom(request)
    # These may differ from page to page.
    for field in ("page_token", "page_size", "consistency"):
        listing.ClearField(field)
    return hashlib.sha256(listing.SerializeToString(deterministic=True)).digest()[:_DIGEST_BYTES]
