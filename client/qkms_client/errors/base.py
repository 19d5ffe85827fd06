"""The family of errors, without its members."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldViolation:
    """A request field at fault, and what is wrong with it."""

    field: str
    description: str


class QkmsError(Exception):
    """The family. `reason` is the stable code, `message` says what happened to what.

    `retry_after` is in seconds, where the server named a time after which a retry helps.
    `request_id` is set for mutations: repeat with the same one, never with a new one,
    to be sure that the effect happens once. `endpoint` is the node that answered last.
    """

    default_reason: ClassVar[str] = "UNKNOWN"
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        fields: tuple[FieldViolation, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.fields = fields
        self.request_id: str | None = None
        self.endpoint: str | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def _number(self, name: str) -> int | None:
        value = self.metadata.get(name, "")
        return int(value) if value.isdecimal() else None


class Conflict(QkmsError):
    """The state is not the one the caller expected; nothing changed."""

    @property
    def expected(self) -> int | None:
        """What the caller expected."""
        return self._number("expected")

    @property
    def actual(self) -> int | None:
        """What is there."""
        return self._number("actual")


class Retryable(QkmsError):
    """The cluster could not serve the call now; repeating it may help."""
