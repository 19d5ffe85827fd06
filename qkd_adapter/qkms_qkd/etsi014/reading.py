"""What a KME's HTTP answer means: keys and status, or the LinkError it amounts to. Pure.

Tolerant in form (extra fields, numbers as strings, `detail` for `message`, 422, 404 or 500 where the
standard says 400, another order of keys), strict in substance (exact length, exactly the ids asked
for, exactly the number asked for).
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from qkms_qkd.answers import HttpAnswer, check_key_id, decoded
from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus, QkdKey

_STANDARD = "ETSI GS QKD 014"
MAX_RELAY_NAME = 128
MAX_RELAYS = 64


class _Key(msgspec.Struct, frozen=True):
    key_ID: str  # noqa: N815
    key: str
    key_extension: Any = None

    def __repr__(self) -> str:
        return f"_Key(key_ID={self.key_ID!r}, key=<redacted>)"


class _Container(msgspec.Struct, frozen=True):
    keys: list[_Key]


class _Status(msgspec.Struct, frozen=True):
    key_size: int
    stored_key_count: int
    source_KME_ID: str | None = None  # noqa: N815
    target_KME_ID: str | None = None  # noqa: N815
    max_key_count: int | None = None
    max_key_per_request: int | None = None
    status_extension: Any = None


def read_keys(kme: str, answer: HttpAnswer, size_bits: int) -> list[QkdKey]:
    """The keys of an enc_keys or dec_keys answer, each of exactly `size_bits`. Raises LinkError."""
    container = decoded(kme, answer, _Container, _STANDARD)
    keys: list[QkdKey] = []
    for item in container.keys:
        check_key_id(kme, item.key_ID)
        try:
            key = base64.b64decode(item.key, validate=True)
        except (binascii.Error, ValueError):
            raise LinkError(kme, "KME_BAD_ANSWER", f"key {item.key_ID} is not valid base64") from None
        if len(key) * 8 != size_bits:
            raise LinkError(
                kme,
                "KEY_WRONG_LENGTH",
                f"key {item.key_ID} has {len(key) * 8} bits where {size_bits} were asked for; it was not used",
            )
        keys.append(QkdKey(item.key_ID, key, _age_s(item.key_extension), _relays(kme, item)))
    if len({key.key_id.lower() for key in keys}) != len(keys):
        raise LinkError(kme, "KEY_REPLAYED", "the answer holds the same key_ID twice; no key of it was used")
    return keys


def drawn(kme: str, keys: list[QkdKey], number: int) -> list[QkdKey]:
    """The keys of an enc_keys answer if there are as many as asked for. Raises LinkError."""
    if len(keys) != number:
        raise LinkError(kme, "KME_BAD_ANSWER", f"answered with {len(keys)} keys where {number} were asked for")
    return keys


def collected(kme: str, keys: list[QkdKey], key_ids: Sequence[str]) -> list[QkdKey]:
    """The keys of a dec_keys answer in the order of `key_ids`. Raises LinkError."""
    found = {key.key_id.lower(): key for key in keys}
    missing = [key_id for key_id in key_ids if key_id.lower() not in found]
    if missing:
        raise LinkError(kme, "KEY_NOT_FOUND", f"the answer lacks key {', '.join(missing)}")
    if len(keys) != len(key_ids):
        raise LinkError(
            kme, "KME_BAD_ANSWER", f"answered with {len(keys)} keys where {len(key_ids)} were asked for"
        )
    in_order = [(key_id, found[key_id.lower()]) for key_id in key_ids]
    return [QkdKey(key_id, key.key, key.age_s, key.relays) for key_id, key in in_order]


def read_status(kme: str, peer_sae: str, answer: HttpAnswer) -> LinkStatus:
    """The link of a status answer. Raises LinkError."""
    status = decoded(kme, answer, _Status, _STANDARD)
    extension = _extension(status.status_extension)
    state = extension.get("link_state")
    return LinkStatus(
        peer_sae=peer_sae,
        source_kme=status.source_KME_ID or kme,
        target_kme=status.target_KME_ID or "",
        key_size=status.key_size,
        stored_key_count=status.stored_key_count,
        max_key_count=status.stored_key_count if status.max_key_count is None else status.max_key_count,
        max_key_per_request=1 if status.max_key_per_request is None else status.max_key_per_request,
        qber=_number(extension.get("qber")),
        skr_bps=_number(extension.get("skr_bps")),
        up={"up": True, "down": False}.get(state) if isinstance(state, str) else None,
    )


def _age_s(key_extension: object) -> float | None:
    age = _number(_extension(key_extension).get("age_s"))
    return None if age is None else max(0.0, age)


def _relays(kme: str, item: _Key) -> tuple[str, ...]:
    """The relays a key has passed. What names them wrongly may hide one: that is no answer."""
    named = _extension(item.key_extension).get("relays")
    if named is None:
        return ()
    if not isinstance(named, list) or len(named) > MAX_RELAYS or not all(_is_name(relay) for relay in named):
        raise LinkError(kme, "KME_BAD_ANSWER", f"key {item.key_ID} comes with relays that are no list of names")
    return tuple(named)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_RELAY_NAME and value.isprintable()


def _extension(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
