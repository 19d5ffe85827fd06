"""From error codes to gRPC statuses: one table, and the rich status of google.rpc.

Every error carries ErrorInfo(reason, domain "qkms", metadata), RetryInfo where
trying again helps, BadRequest where a field is at fault.
"""

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from qkms_node.errors import InvalidField, QkmsError

DOMAIN = "qkms"
DETAILS_KEY = "grpc-status-details-bin"

_S = grpc.StatusCode

STATUS: dict[str, grpc.StatusCode] = {
    "INVALID_FIELD": _S.INVALID_ARGUMENT,
    "REQUEST_ID_REUSED": _S.INVALID_ARGUMENT,
    "CIPHERTEXT_MALFORMED": _S.INVALID_ARGUMENT,
    "CIPHERTEXT_REJECTED": _S.INVALID_ARGUMENT,
    "PLAINTEXT_TOO_LARGE": _S.INVALID_ARGUMENT,
    "WRAPPING_REJECTED": _S.INVALID_ARGUMENT,
    "MATERIAL_REJECTED": _S.INVALID_ARGUMENT,
    "KEY_NOT_FOUND": _S.NOT_FOUND,
    "KEY_DELETED": _S.NOT_FOUND,
    "VERSION_NOT_FOUND": _S.NOT_FOUND,
    "IMPORT_NOT_FOUND": _S.NOT_FOUND,
    "SESSION_NOT_FOUND": _S.NOT_FOUND,
    "POLICY_NOT_FOUND": _S.NOT_FOUND,
    "ROLE_NOT_FOUND": _S.NOT_FOUND,
    "TENANT_NOT_FOUND": _S.NOT_FOUND,
    "GRANT_NOT_FOUND": _S.NOT_FOUND,
    "KEY_EXISTS": _S.ALREADY_EXISTS,
    "SESSION_EXISTS": _S.ALREADY_EXISTS,
    "MEMBER_NOT_FOUND": _S.NOT_FOUND,
    "LINK_NOT_FOUND": _S.NOT_FOUND,
    "MEMBER_EXISTS": _S.ALREADY_EXISTS,
    "MEMBER_NOT_READY": _S.FAILED_PRECONDITION,
    "MEMBER_LIMIT": _S.FAILED_PRECONDITION,
    "LAST_VOTER": _S.FAILED_PRECONDITION,
    "NOT_A_MEMBER": _S.FAILED_PRECONDITION,
    "NOT_FOUNDED": _S.UNAVAILABLE,
    "JOIN_TOKEN_INVALID": _S.PERMISSION_DENIED,
    "JOIN_TOKEN_USED": _S.PERMISSION_DENIED,
    "JOIN_TOKEN_EXPIRED": _S.FAILED_PRECONDITION,
    "CSR_REFUSED": _S.INVALID_ARGUMENT,
    "CA_NOT_HERE": _S.FAILED_PRECONDITION,
    "CA_UNAVAILABLE": _S.UNAVAILABLE,
    "POLICY_EXISTS": _S.ALREADY_EXISTS,
    "ROLE_EXISTS": _S.ALREADY_EXISTS,
    "TENANT_EXISTS": _S.ALREADY_EXISTS,
    "GRANT_EXISTS": _S.ALREADY_EXISTS,
    "ETAG_MISMATCH": _S.ABORTED,
    "VERSION_CONFLICT": _S.ABORTED,
    "EPOCH_CONFLICT": _S.ABORTED,
    "RECOVERY_CONFLICT": _S.ABORTED,
    "RESTORE_CONFLICT": _S.ABORTED,
    "EPOCH_NOT_FOUND": _S.NOT_FOUND,
    "UNSEAL_REJECTED": _S.INVALID_ARGUMENT,
    "RECOVERY_REJECTED": _S.INVALID_ARGUMENT,
    "BACKUP_REJECTED": _S.INVALID_ARGUMENT,
    "SEAL_UNUSABLE": _S.FAILED_PRECONDITION,
    "LAST_HOLDER": _S.FAILED_PRECONDITION,
    "CLUSTER_NOT_EMPTY": _S.FAILED_PRECONDITION,
    "ROTATION_PENDING": _S.FAILED_PRECONDITION,
    "ILLEGAL_TRANSITION": _S.FAILED_PRECONDITION,
    "VERSION_DISABLED": _S.FAILED_PRECONDITION,
    "VERSION_DESTROYED": _S.FAILED_PRECONDITION,
    "VERSION_IS_PRIMARY": _S.FAILED_PRECONDITION,
    "VERSION_STAGED": _S.FAILED_PRECONDITION,
    "VERSION_COMPROMISED": _S.FAILED_PRECONDITION,
    "VERSION_TOO_OLD": _S.FAILED_PRECONDITION,
    "VERSION_NOT_VALIDATED": _S.FAILED_PRECONDITION,
    "ACTIVATION_TOO_EARLY": _S.FAILED_PRECONDITION,
    "MIN_VERSION_TOO_HIGH": _S.FAILED_PRECONDITION,
    "NO_PRIMARY_VERSION": _S.FAILED_PRECONDITION,
    "KEY_DISABLED": _S.FAILED_PRECONDITION,
    "KEY_HAS_VERSIONS": _S.FAILED_PRECONDITION,
    "DELETION_PROTECTED": _S.FAILED_PRECONDITION,
    "NOT_EXPORTABLE": _S.FAILED_PRECONDITION,
    "ALGORITHM_UNSUITABLE": _S.FAILED_PRECONDITION,
    "STORE_EXHAUSTED": _S.FAILED_PRECONDITION,
    "GRADE_TOO_LOW": _S.FAILED_PRECONDITION,
    "QBER_TOO_HIGH": _S.FAILED_PRECONDITION,
    "RELAYS_REFUSED": _S.FAILED_PRECONDITION,
    "SESSION_STATE": _S.FAILED_PRECONDITION,
    "POLICY_IN_USE": _S.FAILED_PRECONDITION,
    "AUDIT_KEY_UNKNOWN": _S.FAILED_PRECONDITION,
    "AUDIT_BROKEN": _S.DATA_LOSS,
    "AUDIT_UNAVAILABLE": _S.UNAVAILABLE,
    "QUOTA_EXCEEDED": _S.RESOURCE_EXHAUSTED,
    "RATE_LIMITED": _S.RESOURCE_EXHAUSTED,
    "PERMISSION_DENIED": _S.PERMISSION_DENIED,
    "NO_QUORUM": _S.UNAVAILABLE,
    "OUTCOME_UNKNOWN": _S.UNAVAILABLE,
    "NOT_COMMITTED": _S.UNAVAILABLE,
    "SEALED": _S.UNAVAILABLE,
    "ROOT_NOT_READY": _S.UNAVAILABLE,
    "TOO_STALE": _S.UNAVAILABLE,
    "SHUTTING_DOWN": _S.UNAVAILABLE,
    "REVISION_NOT_REACHED": _S.UNAVAILABLE,
    "HISTORY_COMPACTED": _S.OUT_OF_RANGE,
    "DEADLINE_EXCEEDED": _S.DEADLINE_EXCEEDED,
    "BATCH_FULL": _S.RESOURCE_EXHAUSTED,
    "INTERNAL": _S.INTERNAL,
}


def status_code(error: QkmsError) -> grpc.StatusCode:
    """The gRPC status of an error's code; a code missing from the table is INTERNAL."""
    return STATUS.get(error.code, _S.INTERNAL)


def rich_status(error: QkmsError) -> bytes:
    """The serialized google.rpc.Status for the trailing metadata `grpc-status-details-bin`."""
    return bytes(status_message(error).SerializeToString())


def status_message(error: QkmsError) -> status_pb2.Status:
    """The google.rpc.Status of an error, with its details."""
    code = code_pb2.Code.Value(status_code(error).name)
    status = status_pb2.Status(code=code, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata=error.metadata)
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest]
    details = [info]
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(retry)
    if isinstance(error, InvalidField):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.problem)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
