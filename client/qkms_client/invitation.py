"""One-time tokens for new nodes: drawn here, shown once, known to the cluster by their hash only.

Text form: `{node_id}.{base64url of 32 random bytes}`, so that a token says for whom it is.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from qkms_client.secret import _Redacted
from qkms_client.types import Header, Member

TOKEN_BYTES = 32


@dataclass(frozen=True, repr=False, eq=False)
class Invitation(_Redacted):
    """A member as recorded, and the token with which its node joins within `ttl`: hand it over in secret.

    `ca_fingerprint` is SHA-256 of the cluster's CA (DER) in hexadecimal: with it the new node knows the
    cluster. `replayed`: this very request had taken effect before.
    """

    member: Member
    token: str
    ttl: timedelta
    ca_fingerprint: str
    replayed: bool
    request_id: str
    header: Header | None = field(default=None)


def draw() -> bytes:
    """A fresh token."""
    return secrets.token_bytes(TOKEN_BYTES)


def text(node_id: str, token: bytes) -> str:
    """The token as it is handed over."""
    return f"{node_id}.{base64.urlsafe_b64encode(token).rstrip(b'=').decode()}"


def hashed(token: bytes) -> bytes:
    """What the cluster is told of a token."""
    return hashlib.sha256(token).digest()
