"""Data formats of ETSI GS QKD 014 v1.1.1 clause 6, with the standard's field names.

Requests are read strictly (an unknown field is an error), answers tolerantly (see `reading`).
Keys travel as base64 in `key`; the Struct that holds one has a redacted repr.
"""

from typing import Any

import msgspec

SIZE_NOT_MULTIPLE_OF_8 = "size shall be a multiple of 8"
EXTENSION_NOT_SUPPORTED = "not all extension_mandatory parameters are supported"
EXTENSION_NOT_MET = "not all extension_mandatory request options could be met"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of enc_keys (6.2); size in bits, None for the KME's default."""

    number: int = 1
    size: int | None = None
    additional_slave_SAE_IDs: list[str] = []  # noqa: N815
    extension_mandatory: list[dict[str, Any]] = []
    extension_optional: list[dict[str, Any]] = []


class KeyId(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key_ID of a dec_keys request."""

    key_ID: str  # noqa: N815
    key_ID_extension: dict[str, Any] | None = None  # noqa: N815


class KeyIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of dec_keys (6.4)."""

    key_IDs: list[KeyId]  # noqa: N815
    key_IDs_extension: dict[str, Any] | None = None  # noqa: N815


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """One delivered key: base64 in `key`."""

    key_ID: str  # noqa: N815
    key: str
    key_ID_extension: dict[str, Any] | None = None  # noqa: N815
    key_extension: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Key(key_ID={self.key_ID!r}, key=<redacted>)"


class KeyContainer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of enc_keys and dec_keys (6.3)."""

    keys: list[Key]
    key_container_extension: dict[str, Any] | None = None


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of status (6.1); sizes in bits."""

    source_KME_ID: str  # noqa: N815
    target_KME_ID: str  # noqa: N815
    master_SAE_ID: str  # noqa: N815
    slave_SAE_ID: str  # noqa: N815
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_SAE_ID_count: int  # noqa: N815
    status_extension: dict[str, Any] | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Body of 400 and 503 (6.5)."""

    message: str
    details: list[dict[str, Any]] = []
