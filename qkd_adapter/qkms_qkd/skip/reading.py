"""What a SKIP answer means: a key, a link's status, or the LinkError it amounts to. Pure.

Tolerant in form (extra fields, missing capabilities but `key`, digits of either case, errors with or without
a body: the draft defines none), strict in substance (exact length, exactly the key asked for, a remote
system that the KME names).
"""

from fnmatch import fnmatchcase

import msgspec

from qkms_qkd.answers import HttpAnswer, check_key_id, decoded
from qkms_qkd.errors import LinkError, LinkErrorCode
from qkms_qkd.link import LinkStatus, QkdKey

_STANDARD = "SKIP (draft-cisco-skip-02)"
_NEW: dict[int, LinkErrorCode] = {400: "KME_REFUSED"}
_BY_ID: dict[int, LinkErrorCode] = {400: "KEY_NOT_FOUND"}
_HEX = frozenset("0123456789abcdefABCDEF")


class _Capabilities(msgspec.Struct, frozen=True):
    key: bool
    localSystemID: str | None = None  # noqa: N815
    remoteSystemID: list[str] = []  # noqa: N815


class _Key(msgspec.Struct, frozen=True):
    keyId: str  # noqa: N815
    key: str

    def __repr__(self) -> str:
        return f"_Key(keyId={self.keyId!r}, key=<redacted>)"


def read_status(kme: str, peer: str, size_bits: int, answer: HttpAnswer) -> LinkStatus:
    """The link to system `peer` by a /capabilities answer; SKIP tells neither stock nor QBER.

    Raises LinkError, also when the KME gives no keys or names no such remote system.
    """
    told = decoded(kme, answer, _Capabilities, _STANDARD)
    if not told.key:
        raise LinkError(kme, "KME_REFUSED", "says that it gives no keys (capabilities: key is false)")
    # Entries of remoteSystemID may be patterns in the manner of a shell.
    if not any(fnmatchcase(peer, pattern) for pattern in told.remoteSystemID):
        raise LinkError(
            kme,
            "KME_REFUSED",
            f"does not name {peer} among its remote systems; check the peer's system id and the KME's settings",
        )
    return LinkStatus(
        peer_sae=peer,
        source_kme=kme,
        target_kme="",
        key_size=size_bits,
        stored_key_count=None,
        max_key_count=None,
        max_key_per_request=1,
    )


def read_new_key(kme: str, answer: HttpAnswer, size_bits: int) -> QkdKey:
    """The key of a /key answer, of exactly `size_bits`. Raises LinkError."""
    return _key(kme, decoded(kme, answer, _Key, _STANDARD, _NEW), size_bits)


def read_key(kme: str, answer: HttpAnswer, key_id: str, size_bits: int) -> QkdKey:
    """The key of a /key/{keyId} answer, if it is that one and of exactly `size_bits`. Raises LinkError."""
    key = _key(kme, decoded(kme, answer, _Key, _STANDARD, _BY_ID), size_bits)
    if key.key_id.lower() != key_id.lower():
        raise LinkError(kme, "KME_BAD_ANSWER", f"answered with key {key.key_id} where {key_id} was asked for")
    return QkdKey(key_id, key.key)


def _key(kme: str, told: _Key, size_bits: int) -> QkdKey:
    check_key_id(kme, told.keyId)
    if not _HEX.issuperset(told.keyId):
        raise LinkError(kme, "KME_BAD_ANSWER", "a keyId is not hexadecimal; its key was not used")
    if not _HEX.issuperset(told.key) or len(told.key) % 2:
        raise LinkError(kme, "KME_BAD_ANSWER", f"key {told.keyId} is not whole bytes in hexadecimal")
    if len(told.key) * 4 != size_bits:
        raise LinkError(
            kme,
            "KEY_WRONG_LENGTH",
            f"key {told.keyId} has {len(told.key) * 4} bits where {size_bits} were asked for; it was not used",
        )
    return QkdKey(told.keyId, bytes.fromhex(told.key))
