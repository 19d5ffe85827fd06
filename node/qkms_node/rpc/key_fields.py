"""Reading the fields of key requests: settings, changes under a mask, filters, etags."""

import re
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration

from qkms.v1 import key_pb2 as pb
from qkms.wrapping import Method
from qkms_node.config_sections import LimitsSection
from qkms_node.errors import InvalidField
from qkms_node.keys.grade import Grade
from qkms_node.ledger.commands import KeyChanges
from qkms_node.ledger.records import VersionState
from qkms_node.rpc import fields
from qkms_node.service.keys import KeySettings
from qkms_node.service.listing import KeyFilter
from qkms_qkd.admission import MAX_QBER

MAX_STALENESS_MS = 3_600_000
MIN_PERIOD_MS = 1_000
MAX_PERIOD_MS = 3_653 * 24 * 3600 * 1000
MAX_REASON = 256
MAX_WRAPPED_BYTES = 16_384

_ETAG = re.compile(r'"([1-9][0-9]{0,18})"')
_IMPORT_NAME = re.compile(r"(keys/[^/]+)/imports/([^/]+)")


def settings(request: pb.CreateKeyRequest, limits: LimitsSection) -> KeySettings:
    """What a new key is to be like."""
    staleness_ms = limits.default_max_staleness_ms
    if request.HasField("max_staleness"):
        staleness_ms = fields.milliseconds("max_staleness", request.max_staleness, 0, MAX_STALENESS_MS)
    period_ms = 0
    if request.HasField("rotation_period"):
        period_ms = _period("rotation_period", request.rotation_period)
    return KeySettings(
        algorithm(request.algorithm),
        required_grade("required_grade", request.required_grade),
        staleness_ms,
        fields.labels(request.labels),
        period_ms,
        request.exportable,
        request.deletion_protection,
        request.allow_compromised_decrypt,
        request.skip_initial_version,
        request.prefer_qkd,
        request.refuse_relays,
        max_qber("max_qber", request.max_qber),
    )


def algorithm(value: int) -> str:
    """The name of a known algorithm."""
    if not value or value not in pb.KeyAlgorithm.values():
        known = ", ".join(pb.KeyAlgorithm.keys()[1:])
        raise InvalidField("algorithm", f"is missing or unknown; there are: {known}")
    return pb.KeyAlgorithm.Name(value)  # type: ignore[arg-type]


def required_grade(field: str, value: int) -> int:
    """A grade that can be required; 0 means any."""
    if value == Grade.IMPORTED:
        raise InvalidField(field, "cannot be IMPORTED: that is the absence of a grade")
    return fields.grade(field, value)


def max_qber(field: str, value: float) -> float:
    """The highest QBER that a key allows; 0 means any."""
    # "not <=" so that a NaN is refused: no QBER would be over it.
    if not 0 <= value <= MAX_QBER:
        raise InvalidField(
            field, f"is {value}; it is a fraction up to {MAX_QBER}, over which no link gives keys; 0: any"
        )
    return value


def changes(request: pb.UpdateKeyRequest) -> KeyChanges:
    """The fields that the mask names, with their new values."""
    paths = list(request.update_mask.paths)
    if not paths:
        raise InvalidField("update_mask", f"names no field; it may name {', '.join(_CHANGES)}")
    values: dict[str, object] = {}
    for path in paths:
        if path not in _CHANGES:
            raise InvalidField("update_mask", f"names {path[:80]!r}; it may name {', '.join(_CHANGES)}")
        field, read = _CHANGES[path]
        values[field] = read(request.key)
    return KeyChanges(**values)  # type: ignore[arg-type]


def revision_of(field: str, etag: str) -> int:
    """The revision that an etag stands for; 0 for none."""
    if not etag:
        return 0
    match = _ETAG.fullmatch(etag)
    if match is None:
        raise InvalidField(field, f"is {etag[:80]!r}, which is no etag of a key; pass one as it was read")
    return int(match[1])


def key_filter(message: pb.KeyFilter) -> KeyFilter:
    """The filter of a listing of keys."""
    if message.state not in pb.KeyState.values():
        raise InvalidField("filter.state", f"is {message.state}, which is no state of a key")
    disabled = {pb.KEY_STATE_ENABLED: False, pb.KEY_STATE_DISABLED: True}.get(message.state)
    return KeyFilter(
        labels=fields.labels(message.labels),
        algorithm=algorithm(message.algorithm) if message.algorithm else "",
        prefix=message.key_id_prefix,
        disabled=disabled,
        deleted=message.state == pb.KEY_STATE_DELETED,
    )


def version_states(values: list[int]) -> frozenset[VersionState]:
    """The states of a filter; none: any."""
    try:
        return frozenset(VersionState(value) for value in values)
    except ValueError:
        raise InvalidField("states", "has a number that is no state of a version") from None


def reason(value: str) -> str:
    """Why something is done, within its limit."""
    if len(value) > MAX_REASON:
        raise InvalidField("reason", f"has {len(value)} characters, the limit is {MAX_REASON}")
    return value


def method(value: int) -> Method:
    """A known wrapping method."""
    try:
        return Method(value)
    except ValueError:
        known = ", ".join(m.name for m in Method)
        raise InvalidField("method", f"is missing or unknown; there are {known}") from None


def import_name(field: str, value: str) -> tuple[str, str]:
    """The key_id and import id of `keys/{key_id}/imports/{uuid}`."""
    match = _IMPORT_NAME.fullmatch(value)
    if match is None:
        raise InvalidField(field, f"is {value[:80]!r}; an import's name is keys/{{key_id}}/imports/{{uuid}}")
    return fields.key_name(field, match[1]), fields.uuid_text(field, match[2])


def wrapped(value: bytes) -> bytes:
    """Wrapped material within its limit."""
    if not 1 <= len(value) <= MAX_WRAPPED_BYTES:
        raise InvalidField("wrapped_material", f"is {len(value)} bytes; it must be 1 to {MAX_WRAPPED_BYTES}")
    return value


def _period(field: str, value: Duration) -> int:
    return fields.milliseconds(field, value, MIN_PERIOD_MS, MAX_PERIOD_MS)


def _new_period(key: pb.Key) -> int:
    return _period("key.rotation_period", key.rotation_period) if key.HasField("rotation_period") else 0


def _new_staleness(key: pb.Key) -> int:
    return fields.milliseconds("key.max_staleness", key.max_staleness, 0, MAX_STALENESS_MS)


# Path of the mask: field of the command, and how it is read.
_CHANGES: dict[str, tuple[str, Callable[[pb.Key], object]]] = {
    "labels": ("labels", lambda key: fields.labels(key.labels)),
    "required_grade": ("required_grade", lambda key: required_grade("key.required_grade", key.required_grade)),
    "max_staleness": ("max_staleness_ms", _new_staleness),
    "rotation_period": ("rotation_period_ms", _new_period),
    "min_decrypt_version": ("min_decrypt", lambda key: key.min_decrypt_version),
    "min_encrypt_version": ("min_encrypt", lambda key: key.min_encrypt_version),
    "deletion_protection": ("deletion_protection", lambda key: key.deletion_protection),
    "allow_compromised_decrypt": ("allow_compromised_decrypt", lambda key: key.allow_compromised_decrypt),
    "prefer_qkd": ("prefer_qkd", lambda key: key.prefer_qkd),
    "refuse_relays": ("refuse_relays", lambda key: key.refuse_relays),
    "max_qber": ("max_qber", lambda key: max_qber("key.max_qber", key.max_qber)),
}
