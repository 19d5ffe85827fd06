"""Every way a call can end without its result: one class per reason code.

The codes are those of ErrorInfo.reason on the wire, plus the few that only a
client can meet (no node reachable, deadline over, profile unreadable, session
not established). Pure; `status` turns gRPC statuses into these.
"""

from collections.abc import Mapping

from qkms_client.errors.base import (
    Conflict,
    FieldViolation,
    QkmsError,
    Retryable,
)
from qkms_client.errors.local import (
    AnswerNotUnderstood,
    ClientClosed,
    ProfileInvalid,
    SessionNotEstablished,
    SessionRejected,
)
from qkms_client.errors.refusals import (
    AlgorithmUnsuitable,
    CiphertextMalformed,
    CiphertextRejected,
    EpochConflict,
    GradeTooLow,
    HistoryCompacted,
    IllegalTransition,
    InternalError,
    InvalidField,
    KeyExists,
    KeyNotFound,
    PermissionDenied,
    PlaintextTooLarge,
    RequestIdReused,
    RotationPending,
    SessionExists,
    SessionNotFound,
    SessionStateConflict,
    VersionConflict,
    VersionDestroyed,
    VersionDisabled,
    VersionIsPrimary,
    VersionNotFound,
)
from qkms_client.errors.unserved import (
    BatchFull,
    DeadlineExceeded,
    NoQuorum,
    NotCommitted,
    OutcomeUnknown,
    Overloaded,
    RevisionNotReached,
    RootNotReady,
    ShuttingDown,
    TooStale,
    Unavailable,
)


def _classes(base: type[QkmsError]) -> list[type[QkmsError]]:
    return [c for child in base.__subclasses__() for c in (child, *_classes(child))]


BY_REASON: Mapping[str, type[QkmsError]] = {
    c.default_reason: c for c in _classes(QkmsError) if c.default_reason != QkmsError.default_reason
}
"""The class of each reason code."""

__all__ = [
    "BY_REASON",
    "AlgorithmUnsuitable",
    "AnswerNotUnderstood",
    "BatchFull",
    "CiphertextMalformed",
    "CiphertextRejected",
    "ClientClosed",
    "Conflict",
    "DeadlineExceeded",
    "EpochConflict",
    "FieldViolation",
    "GradeTooLow",
    "HistoryCompacted",
    "IllegalTransition",
    "InternalError",
    "InvalidField",
    "KeyExists",
    "KeyNotFound",
    "NoQuorum",
    "NotCommitted",
    "OutcomeUnknown",
    "Overloaded",
    "PermissionDenied",
    "PlaintextTooLarge",
    "ProfileInvalid",
    "QkmsError",
    "RequestIdReused",
    "Retryable",
    "RevisionNotReached",
    "RootNotReady",
    "RotationPending",
    "SessionExists",
    "SessionNotEstablished",
    "SessionNotFound",
    "SessionRejected",
    "SessionStateConflict",
    "ShuttingDown",
    "TooStale",
    "Unavailable",
    "VersionConflict",
    "VersionDestroyed",
    "VersionDisabled",
    "VersionIsPrimary",
    "VersionNotFound",
]
