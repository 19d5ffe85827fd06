"""The table of methods: where each is, and how it may be repeated.

A mutation is repeated only with its own request_id. A read without a
consistency gets the default of its row: the session token as AT_LEAST, or the
method's own default with a check of the answer against the token.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.message import Message

from qkms.v1 import audit_pb2, cluster_pb2, crypto_pb2, key_pb2, policy_pb2, qkd_pb2, session_pb2

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Fresh(Enum):
    """What a read that names no consistency gets."""

    SEEN = "seen"
    """AT_LEAST the highest revision this client has seen."""
    CHECKED = "checked"
    """The method's default. An answer older than what this client has seen is not taken."""
    OWN = "own"
    """The node's own view, whatever it is."""


@dataclass(frozen=True)
class Method(Generic[Request, Response]):
    """One gRPC method. `path` is its name on the wire."""

    path: str
    request: type[Request]
    response: type[Response]
    mutation: bool
    fresh: Fresh

    @property
    def name(self) -> str:
        """The method without its service."""
        return self.path.rpartition("/")[2]


def _mutation(path: str, request: type[Request], response: type[Response]) -> Method[Request, Response]:
    return Method(f"/qkms.v1.{path}", request, response, mutation=True, fresh=Fresh.OWN)


def _read(
    path: str, request: type[Request], response: type[Response], fresh: Fresh = Fresh.SEEN
) -> Method[Request, Response]:
    return Method(f"/qkms.v1.{path}", request, response, mutation=False, fresh=fresh)


_k, _c, _s, _cl = key_pb2, crypto_pb2, session_pb2, cluster_pb2

CREATE_KEY = _mutation("KeyService/CreateKey", _k.CreateKeyRequest, _k.CreateKeyResponse)
GET_KEY = _read("KeyService/GetKey", _k.GetKeyRequest, _k.GetKeyResponse)
LIST_KEYS = _read("KeyService/ListKeys", _k.ListKeysRequest, _k.ListKeysResponse)
LIST_VERSIONS = _read("KeyService/ListVersions", _k.ListVersionsRequest, _k.ListVersionsResponse)
ROTATE_KEY = _mutation("KeyService/RotateKey", _k.RotateKeyRequest, _k.RotateKeyResponse)
DISABLE_VERSION = _mutation("KeyService/DisableVersion", _k.DisableVersionRequest, _k.DisableVersionResponse)
ENABLE_VERSION = _mutation("KeyService/EnableVersion", _k.EnableVersionRequest, _k.EnableVersionResponse)
DESTROY_VERSION = _mutation("KeyService/DestroyVersion", _k.DestroyVersionRequest, _k.DestroyVersionResponse)
RESTORE_VERSION = _mutation("KeyService/RestoreVersion", _k.RestoreVersionRequest, _k.RestoreVersionResponse)
UPDATE_KEY = _mutation("KeyService/UpdateKey", _k.UpdateKeyRequest, _k.UpdateKeyResponse)
DISABLE_KEY = _mutation("KeyService/DisableKey", _k.DisableKeyRequest, _k.DisableKeyResponse)
ENABLE_KEY = _mutation("KeyService/EnableKey", _k.EnableKeyRequest, _k.EnableKeyResponse)
DELETE_KEY = _mutation("KeyService/DeleteKey", _k.DeleteKeyRequest, _k.DeleteKeyResponse)
STAGE_VERSION = _mutation("KeyService/StageVersion", _k.StageVersionRequest, _k.StageVersionResponse)
VALIDATE_VERSION = _mutation("KeyService/ValidateVersion", _k.ValidateVersionRequest, _k.ValidateVersionResponse)
ACTIVATE_VERSION = _mutation("KeyService/ActivateVersion", _k.ActivateVersionRequest, _k.ActivateVersionResponse)
ABORT_VERSION = _mutation("KeyService/AbortVersion", _k.AbortVersionRequest, _k.AbortVersionResponse)
COMPROMISE_VERSION = _mutation(
    "KeyService/CompromiseVersion", _k.CompromiseVersionRequest, _k.CompromiseVersionResponse
)
GET_IMPORT_PARAMETERS = _mutation(
    "KeyService/GetImportParameters", _k.GetImportParametersRequest, _k.GetImportParametersResponse
)
IMPORT_VERSION = _mutation("KeyService/ImportVersion", _k.ImportVersionRequest, _k.ImportVersionResponse)
EXPORT_VERSION = _read("KeyService/ExportVersion", _k.ExportVersionRequest, _k.ExportVersionResponse)
WATCH_KEYS = _read("KeyService/WatchKeys", _k.WatchKeysRequest, _k.WatchKeysResponse, Fresh.OWN)

# AT_LEAST alone would lift the bound on staleness that stops a cut-off node from using a
# revoked version: the use of keys keeps the method's default.
ENCRYPT = _read("CryptoService/Encrypt", _c.EncryptRequest, _c.EncryptResponse, Fresh.CHECKED)
DECRYPT = _read("CryptoService/Decrypt", _c.DecryptRequest, _c.DecryptResponse, Fresh.CHECKED)
GENERATE_DATA_KEY = _read(
    "CryptoService/GenerateDataKey",
    _c.GenerateDataKeyRequest,
    _c.GenerateDataKeyResponse,
    Fresh.CHECKED,
)
DERIVE_KEY = _read("CryptoService/DeriveKey", _c.DeriveKeyRequest, _c.DeriveKeyResponse, Fresh.CHECKED)
REWRAP = _read("CryptoService/Rewrap", _c.RewrapRequest, _c.RewrapResponse, Fresh.CHECKED)
MAC = _read("CryptoService/Mac", _c.MacRequest, _c.MacResponse, Fresh.CHECKED)
VERIFY_MAC = _read("CryptoService/VerifyMac", _c.VerifyMacRequest, _c.VerifyMacResponse, Fresh.CHECKED)
SIGN = _read("CryptoService/Sign", _c.SignRequest, _c.SignResponse, Fresh.CHECKED)
VERIFY = _read("CryptoService/Verify", _c.VerifyRequest, _c.VerifyResponse, Fresh.CHECKED)
GET_PUBLIC_KEY = _read(
    "CryptoService/GetPublicKey", _c.GetPublicKeyRequest, _c.GetPublicKeyResponse, Fresh.CHECKED
)
ENCAPSULATE = _read("CryptoService/Encapsulate", _c.EncapsulateRequest, _c.EncapsulateResponse, Fresh.CHECKED)
DECAPSULATE = _read("CryptoService/Decapsulate", _c.DecapsulateRequest, _c.DecapsulateResponse, Fresh.CHECKED)
RANDOM_BYTES = _read("CryptoService/RandomBytes", _c.RandomBytesRequest, _c.RandomBytesResponse, Fresh.OWN)
# Each call in it is repeated and checked by the rule of its own row.
BATCH = _read("CryptoService/Batch", _c.BatchRequest, _c.BatchResponse, Fresh.OWN)

OPEN_SESSION = _mutation("SessionService/OpenSession", _s.OpenSessionRequest, _s.OpenSessionResponse)
READ_SESSION = _read("SessionService/JoinSession", _s.JoinSessionRequest, _s.JoinSessionResponse)
ANSWER_SESSION = _mutation("SessionService/JoinSession", _s.JoinSessionRequest, _s.JoinSessionResponse)
CONFIRM_SESSION = _mutation("SessionService/ConfirmSession", _s.ConfirmSessionRequest, _s.ConfirmSessionResponse)
CLOSE_SESSION = _mutation("SessionService/CloseSession", _s.CloseSessionRequest, _s.CloseSessionResponse)
GET_SESSION = _read("SessionService/GetSession", _s.GetSessionRequest, _s.GetSessionResponse)

SEAL = _read("ClusterService/Seal", _cl.SealRequest, _cl.SealResponse, Fresh.OWN)
UNSEAL = _read("ClusterService/Unseal", _cl.UnsealRequest, _cl.UnsealResponse, Fresh.OWN)
GET_RECOVERY = _read("ClusterService/GetRecovery", _cl.GetRecoveryRequest, _cl.GetRecoveryResponse, Fresh.OWN)
SET_RECOVERY = _mutation("ClusterService/SetRecovery", _cl.SetRecoveryRequest, _cl.SetRecoveryResponse)
OPEN_RECOVERY = _read("ClusterService/OpenRecovery", _cl.OpenRecoveryRequest, _cl.OpenRecoveryResponse, Fresh.OWN)
BACKUP = _read("ClusterService/Backup", _cl.BackupRequest, _cl.BackupResponse, Fresh.OWN)
# Restoring may be repeated part by part as it is: a part names its place.
RESTORE_BACKUP = _read(
    "ClusterService/RestoreBackup", _cl.RestoreBackupRequest, _cl.RestoreBackupResponse, Fresh.OWN
)
GET_STATUS = _read(
    "ClusterService/GetStatus", cluster_pb2.GetStatusRequest, cluster_pb2.GetStatusResponse, Fresh.OWN
)
ROTATE_ROOT = _mutation("ClusterService/RotateRoot", cluster_pb2.RotateRootRequest, cluster_pb2.RotateRootResponse)
LIST_MEMBERS = _read(
    "ClusterService/ListMembers", cluster_pb2.ListMembersRequest, cluster_pb2.ListMembersResponse, Fresh.OWN
)
ADD_MEMBER = _mutation("ClusterService/AddMember", cluster_pb2.AddMemberRequest, cluster_pb2.AddMemberResponse)
PROMOTE_MEMBER = _mutation(
    "ClusterService/PromoteMember", cluster_pb2.PromoteMemberRequest, cluster_pb2.PromoteMemberResponse
)
REMOVE_MEMBER = _mutation(
    "ClusterService/RemoveMember", cluster_pb2.RemoveMemberRequest, cluster_pb2.RemoveMemberResponse
)
TRANSFER_LEADERSHIP = _mutation(
    "ClusterService/TransferLeadership",
    cluster_pb2.TransferLeadershipRequest,
    cluster_pb2.TransferLeadershipResponse,
)
LIST_LINKS = _read("QkdService/ListLinks", qkd_pb2.ListLinksRequest, qkd_pb2.ListLinksResponse, Fresh.OWN)
LIST_LINK_ALARMS = _read(
    "QkdService/ListLinkAlarms", qkd_pb2.ListLinkAlarmsRequest, qkd_pb2.ListLinkAlarmsResponse, Fresh.OWN
)
LIST_LINK_SAMPLES = _read(
    "QkdService/ListLinkSamples", qkd_pb2.ListLinkSamplesRequest, qkd_pb2.ListLinkSamplesResponse, Fresh.OWN
)

_p, _a = policy_pb2, audit_pb2
CREATE_POLICY = _mutation("PolicyService/CreatePolicy", _p.CreatePolicyRequest, _p.CreatePolicyResponse)
UPDATE_POLICY = _mutation("PolicyService/UpdatePolicy", _p.UpdatePolicyRequest, _p.UpdatePolicyResponse)
DELETE_POLICY = _mutation("PolicyService/DeletePolicy", _p.DeletePolicyRequest, _p.DeletePolicyResponse)
GET_POLICY = _read("PolicyService/GetPolicy", _p.GetPolicyRequest, _p.GetPolicyResponse)
LIST_POLICIES = _read("PolicyService/ListPolicies", _p.ListPoliciesRequest, _p.ListPoliciesResponse)
CREATE_ROLE = _mutation("PolicyService/CreateRole", _p.CreateRoleRequest, _p.CreateRoleResponse)
UPDATE_ROLE = _mutation("PolicyService/UpdateRole", _p.UpdateRoleRequest, _p.UpdateRoleResponse)
DELETE_ROLE = _mutation("PolicyService/DeleteRole", _p.DeleteRoleRequest, _p.DeleteRoleResponse)
GET_ROLE = _read("PolicyService/GetRole", _p.GetRoleRequest, _p.GetRoleResponse)
LIST_ROLES = _read("PolicyService/ListRoles", _p.ListRolesRequest, _p.ListRolesResponse)
CREATE_TENANT = _mutation("PolicyService/CreateTenant", _p.CreateTenantRequest, _p.CreateTenantResponse)
UPDATE_TENANT = _mutation("PolicyService/UpdateTenant", _p.UpdateTenantRequest, _p.UpdateTenantResponse)
DELETE_TENANT = _mutation("PolicyService/DeleteTenant", _p.DeleteTenantRequest, _p.DeleteTenantResponse)
GET_TENANT = _read("PolicyService/GetTenant", _p.GetTenantRequest, _p.GetTenantResponse)
LIST_TENANTS = _read("PolicyService/ListTenants", _p.ListTenantsRequest, _p.ListTenantsResponse)
CREATE_GRANT = _mutation("PolicyService/CreateGrant", _p.CreateGrantRequest, _p.CreateGrantResponse)
REVOKE_GRANT = _mutation("PolicyService/RevokeGrant", _p.RevokeGrantRequest, _p.RevokeGrantResponse)
LIST_GRANTS = _read("PolicyService/ListGrants", _p.ListGrantsRequest, _p.ListGrantsResponse)
EXPLAIN_POLICY = _read("PolicyService/ExplainPolicy", _p.ExplainPolicyRequest, _p.ExplainPolicyResponse)

QUERY_AUDIT = _read("AuditService/QueryAudit", _a.QueryAuditRequest, _a.QueryAuditResponse, Fresh.OWN)
VERIFY_AUDIT = _read("AuditService/VerifyAudit", _a.VerifyAuditRequest, _a.VerifyAuditResponse, Fresh.OWN)
GET_AUDIT_HEAD = _read("AuditService/GetAuditHead", _a.GetAuditHeadRequest, _a.GetAuditHeadResponse, Fresh.OWN)
LIST_ANCHORS = _read("AuditService/ListAnchors", _a.ListAnchorsRequest, _a.ListAnchorsResponse)
ANCHOR_AUDIT = _mutation("AuditService/AnchorAudit", _a.AnchorAuditRequest, _a.AnchorAuditResponse)
