"""Data formats of SKIP (draft-cisco-skip-02), with the draft's field names.

Keys, key ids and random strings travel as hexadecimal digits; a Struct that holds a secret has a redacted
repr. Sizes are in bits.
"""

import msgspec

DEFAULT_BITS = 256
"""Of `size` and `minentropy` when the request does not name them."""


class Capabilities(msgspec.Struct, frozen=True):
    """Answer of /capabilities: what the KME offers, who it is, and to which systems it shares keys."""

    entropy: bool
    key: bool
    algorithm: str
    localSystemID: str  # noqa: N815
    remoteSystemID: list[str]  # noqa: N815


class Key(msgspec.Struct, frozen=True):
    """Answer of /key and /key/{keyId}."""

    keyId: str  # noqa: N815
    key: str

    def __repr__(self) -> str:
        return f"Key(keyId={self.keyId!r}, key=<redacted>)"


class Entropy(msgspec.Struct, frozen=True):
    """Answer of /entropy: random bytes with at least `minentropy` bits."""

    randomStr: str  # noqa: N815
    minentropy: int

    def __repr__(self) -> str:
        return f"Entropy(randomStr=<redacted>, minentropy={self.minentropy})"
