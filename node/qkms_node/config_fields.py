"""What the fields of a node's configuration are made of, and the error that names one."""

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
Address = Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\s]+):[0-9]{1,5}$")]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and the field."""

    code = "CONFIG_INVALID"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections."""
