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
    ExportInvalid,
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
    AlgorithmUnsuitable,
    AuditBroken,
    AuditKeyUnknown,
    CiphertextMalformed,
    CiphertextRejected,
    EpochConflict,
    EtagMismatch,
    GradeTooLow,
    GrantExists,
    GrantNotFound,
    HistoryCompacted,
    IllegalTransition,
    InternalError,
    InvalidField,
    KeyExists,
    KeyNotFound,
    PermissionDenied,
    PlaintextTooLarge,
    PolicyExists,
    PolicyInUse,
    PolicyNotFound,
    QuotaExceeded,
    RequestIdReused,
    RoleExists,
    RoleNotFound,
    RotationPending,
    SessionExists,
    SessionNotFound,
    SessionStateConflict,
    TenantExists,
    TenantNotFound,
    VersionConflict,
    VersionDestroyed,
    VersionDisabled,
    VersionIsPrimary,
    VersionNotFound,
)
from qkms_client.errors.unserved import (
    AuditUnavailable,
    DeadlineExceeded,
    NoQuorum,
    NotCommitted,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
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
    "AuditBroken",
    "AuditKeyUnknown",
    "AuditUnavailable",
    "CiphertextMalformed",
    "CiphertextRejected",
    "ClientClosed",
    "Conflict",
    "DeadlineExceeded",
    "EpochConflict",
    "EtagMismatch",
    "ExportInvalid",
    "FieldViolation",
    "GradeTooLow",
    "GrantExists",
    "GrantNotFound",
    "HistoryCompacted",
    "IllegalTransition",
    "InternalError",
    "InvalidField",
    "KeyExists",
    "KeyNotFound",
    "LastVoter",
    "MemberExists",
    "MemberLimit",
    "MemberNotFound",
    "MemberNotReady",
    "NoQuorum",
    "NotCommitted",
    "NotFounded",
    "OutcomeUnknown",
    "Overloaded",
    "PermissionDenied",
    "PlaintextTooLarge",
    "PolicyExists",
    "PolicyInUse",
    "PolicyNotFound",
    "ProfileInvalid",
    "QkmsError",
    "QuotaExceeded",
    "RateLimited",
    "RequestIdReused",
    "Retryable",
    "RevisionNotReached",
    "RoleExists",
    "RoleNotFound",
    "RootNotReady",
    "RotationPending",
    "SessionExists",
    "SessionNotEstablished",
    "SessionNotFound",
    "SessionRejected",
    "SessionStateConflict",
    "ShuttingDown",
    "TenantExists",
    "TenantNotFound",
    "TooStale",
    "Unavailable",
    "VersionConflict",
    "VersionDestroyed",
    "VersionDisabled",
    "VersionIsPrimary",
    "VersionNotFound",
]
