"""From google.rpc statuses to typed errors: every reason of the table, and what is no status of ours."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from qkms_client import errors
from qkms_client.status import DETAILS_KEY, NotSent, error_of

WIRE_REASONS = {
    "INVALID_FIELD": errors.InvalidField,
    "REQUEST_ID_REUSED": errors.RequestIdReused,
    "CIPHERTEXT_MALFORMED": errors.CiphertextMalformed,
    "CIPHERTEXT_REJECTED": errors.CiphertextRejected,
    "PLAINTEXT_TOO_LARGE": errors.PlaintextTooLarge,
    "KEY_NOT_FOUND": errors.KeyNotFound,
    "VERSION_NOT_FOUND": errors.VersionNotFound,
    "SESSION_NOT_FOUND": errors.SessionNotFound,
    "KEY_EXISTS": errors.KeyExists,
    "SESSION_EXISTS": errors.SessionExists,
    "VERSION_CONFLICT": errors.VersionConflict,
    "EPOCH_CONFLICT": errors.EpochConflict,
    "ROTATION_PENDING": errors.RotationPending,
    "ILLEGAL_TRANSITION": errors.IllegalTransition,
    "VERSION_DISABLED": errors.VersionDisabled,
    "VERSION_DESTROYED": errors.VersionDestroyed,
    "VERSION_IS_PRIMARY": errors.VersionIsPrimary,
    "STORE_EXHAUSTED": errors.StoreExhausted,
    "GRADE_TOO_LOW": errors.GradeTooLow,
    "RELAYS_REFUSED": errors.RelaysRefused,
    "QBER_TOO_HIGH": errors.QberTooHigh,
    "SESSION_STATE": errors.SessionStateConflict,
    "PERMISSION_DENIED": errors.PermissionDenied,
    "NO_QUORUM": errors.NoQuorum,
    "OUTCOME_UNKNOWN": errors.OutcomeUnknown,
    "NOT_COMMITTED": errors.NotCommitted,
    "ROOT_NOT_READY": errors.RootNotReady,
    "TOO_STALE": errors.TooStale,
    "SHUTTING_DOWN": errors.ShuttingDown,
    "REVISION_NOT_REACHED": errors.RevisionNotReached,
    "HISTORY_COMPACTED": errors.HistoryCompacted,
    "POLICY_NOT_FOUND": errors.PolicyNotFound,
    "ROLE_NOT_FOUND": errors.RoleNotFound,
    "TENANT_NOT_FOUND": errors.TenantNotFound,
    "GRANT_NOT_FOUND": errors.GrantNotFound,
    "POLICY_EXISTS": errors.PolicyExists,
    "ROLE_EXISTS": errors.RoleExists,
    "TENANT_EXISTS": errors.TenantExists,
    "GRANT_EXISTS": errors.GrantExists,
    "POLICY_IN_USE": errors.PolicyInUse,
    "QUOTA_EXCEEDED": errors.QuotaExceeded,
    "AUDIT_KEY_UNKNOWN": errors.AuditKeyUnknown,
    "AUDIT_BROKEN": errors.AuditBroken,
    "ETAG_MISMATCH": errors.EtagMismatch,
    "RATE_LIMITED": errors.RateLimited,
    "AUDIT_UNAVAILABLE": errors.AuditUnavailable,
    "INTERNAL": errors.InternalError,
    "VERSION_STAGED": errors.VersionStaged,
    "VERSION_COMPROMISED": errors.VersionCompromised,
    "VERSION_TOO_OLD": errors.VersionTooOld,
    "VERSION_NOT_VALIDATED": errors.VersionNotValidated,
    "ACTIVATION_TOO_EARLY": errors.ActivationTooEarly,
    "MIN_VERSION_TOO_HIGH": errors.MinVersionTooHigh,
    "NO_PRIMARY_VERSION": errors.NoPrimaryVersion,
    "KEY_DISABLED": errors.KeyDisabled,
    "KEY_DELETED": errors.KeyDeleted,
    "KEY_HAS_VERSIONS": errors.KeyHasVersions,
    "DELETION_PROTECTED": errors.DeletionProtected,
    "NOT_EXPORTABLE": errors.NotExportable,
    "IMPORT_NOT_FOUND": errors.ImportNotFound,
    "WRAPPING_REJECTED": errors.WrappingRejected,
    "MATERIAL_REJECTED": errors.MaterialRejected,
    "SEALED": errors.Sealed,
    "UNSEAL_REJECTED": errors.UnsealRejected,
    "SEAL_UNUSABLE": errors.SealUnusable,
    "LAST_HOLDER": errors.LastHolder,
    "RECOVERY_CONFLICT": errors.RecoveryConflict,
    "RECOVERY_REJECTED": errors.RecoveryRejected,
    "RESTORE_CONFLICT": errors.RestoreConflict,
    "BACKUP_REJECTED": errors.BackupNotAccepted,
    "CLUSTER_NOT_EMPTY": errors.ClusterNotEmpty,
    "EPOCH_NOT_FOUND": errors.EpochNotFound,
    "MEMBER_NOT_FOUND": errors.MemberNotFound,
    "MEMBER_EXISTS": errors.MemberExists,
    "MEMBER_NOT_READY": errors.MemberNotReady,
    "MEMBER_LIMIT": errors.MemberLimit,
    "LAST_VOTER": errors.LastVoter,
    "NOT_FOUNDED": errors.NotFounded,
}


def rich(reason: str, domain: str = "qkms", **metadata: str) -> list[tuple[str, str | bytes]]:
    """Trailing metadata as a node sends it."""
    packed = AnyMessage()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    retry = AnyMessage()
    retry.Pack(error_details_pb2.RetryInfo(retry_delay=Duration(nanos=250_000_000)))
    status = status_pb2.Status(code=1, message=f"about {reason}", details=[packed, retry])
    return [("server", "x"), (DETAILS_KEY, status.SerializeToString())]


@pytest.mark.parametrize(("reason", "expected"), WIRE_REASONS.items())
def test_each_reason_has_its_own_class(reason: str, expected: type[errors.QkmsError]) -> None:
    error = error_of(grpc.StatusCode.UNAVAILABLE, "text", rich(reason, leader="node-2"))
    assert type(error) is expected
    assert error.reason == reason
    assert error.metadata == {"leader": "node-2"}
    assert error.retry_after == pytest.approx(0.25)
    assert f"about {reason}" in str(error)
    assert error.advice


def test_classes_are_one_to_one_with_reasons() -> None:
    assert len(set(WIRE_REASONS.values())) == len(WIRE_REASONS)
    assert {reason: errors.BY_REASON[reason] for reason in WIRE_REASONS} == WIRE_REASONS


def test_an_unknown_reason_keeps_its_code() -> None:
    error = error_of(grpc.StatusCode.FAILED_PRECONDITION, None, rich("OF_A_LATER_SERVER"))
    assert type(error) is errors.QkmsError
    assert error.reason == "OF_A_LATER_SERVER"


def test_numbers_of_a_conflict() -> None:
    error = error_of(grpc.StatusCode.ABORTED, None, rich("VERSION_CONFLICT", expected="3", actual="4"))
    assert isinstance(error, errors.VersionConflict)
    assert (error.expected, error.actual) == (3, 4)


def test_a_number_that_is_none_is_not_believed() -> None:
    error = error_of(grpc.StatusCode.ABORTED, None, rich("VERSION_CONFLICT", expected="three"))
    assert isinstance(error, errors.VersionConflict)
    assert (error.expected, error.actual) == (None, None)


def test_field_violations() -> None:
    info, bad = AnyMessage(), AnyMessage()
    info.Pack(error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="qkms"))
    violation = error_details_pb2.BadRequest.FieldViolation(field="key_id", description="is empty")
    bad.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    data = status_pb2.Status(message="no", details=[info, bad]).SerializeToString()
    error = error_of(grpc.StatusCode.INVALID_ARGUMENT, None, [(DETAILS_KEY, data)])
    assert error.fields == (errors.FieldViolation("key_id", "is empty"),)


def test_another_domain_is_not_ours() -> None:
    """A proxy's refusal says nothing about what the node did."""
    error = error_of(grpc.StatusCode.UNAVAILABLE, "proxy", rich("NOT_COMMITTED", domain="proxy.example"))
    assert type(error) is errors.Unavailable


def test_never_connected_is_told_apart_from_connection_lost() -> None:
    never = error_of(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error", [])
    lost = error_of(grpc.StatusCode.UNAVAILABLE, "Socket closed", [])
    assert type(never) is NotSent
    assert type(lost) is errors.Unavailable


def test_deadline() -> None:
    assert type(error_of(grpc.StatusCode.DEADLINE_EXCEEDED, None, [])) is errors.DeadlineExceeded


@given(st.binary(max_size=200), st.sampled_from(list(grpc.StatusCode)))
def test_any_bytes_as_details_give_an_error_never_a_crash(data: bytes, code: grpc.StatusCode) -> None:
    error = error_of(code, "text", [(DETAILS_KEY, data)])
    assert isinstance(error, errors.QkmsError)
    assert error.reason
