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
from qkms_client.errors.members import (
    LastVoter,
    MemberExists,
    MemberLimit,
    MemberNotFound,
    MemberNotReady,
    NotFounded,
)
from qkms_client.errors.refusals import (
    ActivationTooEarly,
    AlgorithmUnsuitable,
    CiphertextMalformed,
    CiphertextRejected,
    DeletionProtected,
    EpochConflict,
    EtagMismatch,
    GradeTooLow,
    HistoryCompacted,
    IllegalTransition,
    ImportNotFound,
    InternalError,
    InvalidField,
    KeyDeleted,
    KeyDisabled,
    KeyExists,
    KeyHasVersions,
    KeyNotFound,
    MinVersionTooHigh,
    NoPrimaryVersion,
    NotExportable,
    PermissionDenied,
    PlaintextTooLarge,
    RequestIdReused,
    RotationPending,
    SessionExists,
    SessionNotFound,
    SessionStateConflict,
    VersionCompromised,
    VersionConflict,
    VersionDestroyed,
    VersionDisabled,
    VersionIsPrimary,
    VersionNotFound,
    VersionNotValidated,
    VersionStaged,
    VersionTooOld,
    WrappingRejected,
)
from qkms_client.errors.unserved import (
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
    "ActivationTooEarly",
    "AlgorithmUnsuitable",
    "AnswerNotUnderstood",
    "CiphertextMalformed",
    "CiphertextRejected",
    "ClientClosed",
    "Conflict",
    "DeadlineExceeded",
    "DeletionProtected",
    "EpochConflict",
    "EtagMismatch",
    "FieldViolation",
    "GradeTooLow",
    "HistoryCompacted",
    "IllegalTransition",
    "ImportNotFound",
    "InternalError",
    "InvalidField",
    "KeyDeleted",
    "KeyDisabled",
    "KeyExists",
    "KeyHasVersions",
    "KeyNotFound",
    "LastVoter",
    "MemberExists",
    "MemberLimit",
    "MemberNotFound",
    "MemberNotReady",
    "MinVersionTooHigh",
    "NoPrimaryVersion",
    "NoQuorum",
    "NotCommitted",
    "NotExportable",
    "NotFounded",
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
    "VersionCompromised",
    "VersionConflict",
    "VersionDestroyed",
    "VersionDisabled",
    "VersionIsPrimary",
    "VersionNotFound",
    "VersionNotValidated",
    "VersionStaged",
    "VersionTooOld",
    "WrappingRejected",
]
