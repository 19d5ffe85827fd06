"""Reading request fields: names, ids, durations, contexts. Each error names the field."""

import re
import uuid
from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration

from qkms.v1 import common_pb2
from qkms_node.errors import InvalidField
from qkms_node.keys.grade import Grade
from qkms_node.service.freshness import Level, Wanted

_KEY_ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_SAE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")
_VERSION_NAME = re.compile(r"(keys/[^/]+)/versions/([1-9][0-9]{0,8})")

MAX_CONTEXT_PAIRS = 32
MAX_CONTEXT_BYTES = 256
MAX_AAD_BYTES = 65_536
MAX_MESSAGE_BYTES = 65_536
MAX_CIPHERTEXT_BYTES = 131_072
MAX_LABELS = 64
MAX_PAGE = 1000
DEFAULT_PAGE = 100


def request_id(value: str) -> str:
    """A UUID in its canonical form."""
    return uuid_text("request_id", value)


def restore_id(value: str) -> str:
    """The id of a restore, in the canonical form of a UUID."""
    return uuid_text("restore_id", value)


def session_id(value: str) -> str:
    """A session's UUID in its canonical form."""
    return uuid_text("session_id", value)


def session_name(field: str, value: str) -> str:
    """The session_id of `sessions/{session_id}`."""
    prefix, _, identifier = value.partition("/")
    if prefix != "sessions":
        raise InvalidField(field, f"is {value!r}; a session's name is sessions/{{uuid}}")
    return uuid_text(field, identifier)


def key_id(field: str, value: str) -> str:
    """A key_id: 1 to 63 of [a-z0-9._-], beginning and ending with a letter or digit."""
    if not _KEY_ID.fullmatch(value):
        raise InvalidField(
            field,
            f"is {value[:80]!r}; a key_id is 1 to 63 of a-z 0-9 . _ - and begins and ends with a letter or digit",
        )
    return value


def key_name(field: str, value: str) -> str:
    """The key_id of `keys/{key_id}`."""
    prefix, _, identifier = value.partition("/")
    if prefix != "keys":
        raise InvalidField(field, f"is {value[:80]!r}; a key's name is keys/{{key_id}}")
    return key_id(field, identifier)


def version_name(field: str, value: str) -> tuple[str, int]:
    """The key_id and number of `keys/{key_id}/versions/{n}`."""
    match = _VERSION_NAME.fullmatch(value)
    if match is None:
        raise InvalidField(field, f"is {value[:80]!r}; a version's name is keys/{{key_id}}/versions/{{n}}")
    return key_name(field, match[1]), int(match[2])


def node_id(field: str, value: str) -> str:
    """A node id: 1 to 63 of [a-z0-9._-], beginning and ending with a letter or digit."""
    if not _KEY_ID.fullmatch(value):
        raise InvalidField(
            field,
            f"is {value[:80]!r}; a node id is 1 to 63 of a-z 0-9 . _ - and begins and ends with a letter or digit",
        )
    return value


def address(field: str, value: str) -> str:
    """host:port, an IPv6 host in brackets, at most 300 characters."""
    match = _ADDRESS.fullmatch(value) if len(value) <= 300 else None
    if match is None or not 1 <= int(match[2]) <= 65_535:
        raise InvalidField(field, f"is {value[:80]!r}; write host:port, an IPv6 address in brackets")
    return value


def sae_id(field: str, value: str) -> str:
    """An ETSI GS QKD 014 SAE ID: 1 to 128 letters, digits and ._:@/-, a letter or digit first."""
    if not _SAE_ID.fullmatch(value):
        raise InvalidField(field, f"is {value[:80]!r}; it is 1 to 128 letters, digits and ._:@/-")
    return value


def context(value: Mapping[str, str]) -> dict[str, str]:
    """An encryption context within its limits."""
    if len(value) > MAX_CONTEXT_PAIRS:
        raise InvalidField("context", f"has {len(value)} pairs, the limit is {MAX_CONTEXT_PAIRS}")
    for name, text in value.items():
        if not name:
            raise InvalidField("context", "has a pair with an empty name")
        if max(len(name.encode()), len(text.encode())) > MAX_CONTEXT_BYTES:
            raise InvalidField("context", f"pair {name[:32]!r} is over {MAX_CONTEXT_BYTES} bytes on a side")
    return dict(value)


def labels(value: Mapping[str, str]) -> dict[str, str]:
    """Labels within their limits, in canonical order."""
    if len(value) > MAX_LABELS:
        raise InvalidField("labels", f"has {len(value)} pairs, the limit is {MAX_LABELS}")
    for name, text in value.items():
        if not name or len(name) > 63 or len(text) > 63:
            raise InvalidField("labels", f"{name[:63]!r}: names are 1 to 63 and values up to 63 characters")
    return dict(sorted(value.items()))


def aad(value: bytes) -> bytes:
    """Additional authenticated data within its limit."""
    return _bounded("additional_authenticated_data", value, MAX_AAD_BYTES)


def message(field: str, value: bytes) -> bytes:
    """What is signed or authenticated, within its limit."""
    return _bounded(field, value, MAX_MESSAGE_BYTES)


def ciphertext(field: str, value: bytes) -> bytes:
    """A ciphertext, signature or MAC within its limit."""
    return _bounded(field, value, MAX_CIPHERTEXT_BYTES)


def sized(field: str, value: bytes, size: int) -> bytes:
    """Bytes of exactly `size`."""
    if len(value) != size:
        raise InvalidField(field, f"is {len(value)} bytes, it must be {size}")
    return value


def milliseconds(field: str, value: Duration, low: int, high: int) -> int:
    """A duration in whole milliseconds within [low, high]."""
    total = value.ToMilliseconds()
    if not low <= total <= high:
        raise InvalidField(field, f"is {total} ms; it must be {low} to {high} ms")
    return total


def grade(field: str, value: int) -> int:
    """A required grade; 0 means any."""
    if value and value not in {int(known) for known in Grade}:
        raise InvalidField(field, f"is {value}, which is no grade")
    return value


def page_size(value: int) -> int:
    """1 to 1000; 0 means the default of 100."""
    if not 0 <= value <= MAX_PAGE:
        raise InvalidField("page_size", f"is {value}; it must be 0 to {MAX_PAGE}")
    return value or DEFAULT_PAGE


def wanted(message: common_pb2.Consistency, present: bool) -> Wanted | None:
    """The consistency asked for; None where the method's default applies."""
    if not present or message.level == common_pb2.CONSISTENCY_LEVEL_UNSPECIFIED:
        return None
    try:
        level = Level(message.level)
    except ValueError:
        raise InvalidField("consistency.level", f"is {message.level}, which is no level") from None
    if level is Level.AT_LEAST and message.revision == 0:
        raise InvalidField("consistency.revision", "is needed with AT_LEAST")
    staleness_ms = 0
    if level is Level.BOUNDED and message.HasField("max_staleness"):
        staleness_ms = milliseconds("consistency.max_staleness", message.max_staleness, 1, 3_600_000)
    return Wanted(level, message.revision, staleness_ms)


def _bounded(field: str, value: bytes, limit: int) -> bytes:
    if len(value) > limit:
        raise InvalidField(field, f"is {len(value)} bytes, the limit is {limit}")
    return value


def uuid_text(field: str, value: str) -> str:
    """A UUID in its canonical form."""
    try:
        parsed = uuid.UUID(value)
    except ValueError:
        raise InvalidField(field, f"is {value[:80]!r}, not a UUID") from None
    if str(parsed) != value.lower():
        raise InvalidField(field, f"is {value[:80]!r}; write the UUID as 8-4-4-4-12 hexadecimal digits")
    return str(parsed)
