"""Commands of access and audit: policies, roles, tenants, grants, anchors. See `commands`."""

from qkms_node.ledger.access_records import AnchorRecord, RuleRecord
from qkms_node.ledger.command import Command, Mutation


class CreatePolicy(Mutation, frozen=True, tag="create_policy"):
    """Adds a policy."""

    policy_id: str
    description: str
    rules: tuple[RuleRecord, ...]


class UpdatePolicy(Mutation, frozen=True, tag="update_policy"):
    """Replaces a policy's content; `expected_revision` 0: whatever it was."""

    policy_id: str
    expected_revision: int
    description: str
    rules: tuple[RuleRecord, ...]


class DeletePolicy(Mutation, frozen=True, tag="delete_policy"):
    """Removes a policy that no role names."""

    policy_id: str
    expected_revision: int


class CreateRole(Mutation, frozen=True, tag="create_role"):
    """Adds a role."""

    role_id: str
    description: str
    principals: tuple[str, ...]
    policies: tuple[str, ...]


class UpdateRole(Mutation, frozen=True, tag="update_role"):
    """Replaces a role's content; `expected_revision` 0: whatever it was."""

    role_id: str
    expected_revision: int
    description: str
    principals: tuple[str, ...]
    policies: tuple[str, ...]


class DeleteRole(Mutation, frozen=True, tag="delete_role"):
    """Removes a role."""

    role_id: str
    expected_revision: int


class CreateTenant(Mutation, frozen=True, tag="create_tenant"):
    """Adds a tenant with its quotas; 0: no limit."""

    tenant_id: str
    description: str
    principals: tuple[str, ...]
    max_keys: int
    max_versions: int
    max_sessions: int


class UpdateTenant(Mutation, frozen=True, tag="update_tenant"):
    """Replaces a tenant's content; `expected_revision` 0: whatever it was."""

    tenant_id: str
    expected_revision: int
    description: str
    principals: tuple[str, ...]
    max_keys: int
    max_versions: int
    max_sessions: int


class DeleteTenant(Mutation, frozen=True, tag="delete_tenant"):
    """Removes a tenant's quotas."""

    tenant_id: str
    expected_revision: int


class CreateGrant(Mutation, frozen=True, tag="create_grant"):
    """Lends rights of the caller to `grantee` for `ttl_ms`."""

    grant_id: str
    grantee: str
    actions: tuple[str, ...]
    keys: tuple[str, ...]
    context_keys: tuple[str, ...]
    ttl_ms: int


class RevokeGrant(Mutation, frozen=True, tag="revoke_grant"):
    """Ends a grant before its time; the service has checked who asks."""

    grant_id: str


class AnchorAudit(Mutation, frozen=True, tag="anchor_audit"):
    """Fixes how far a node's chain of calls has come."""

    anchor: AnchorRecord


class RegisterAuditKey(Command, frozen=True, tag="register_audit_key"):
    """The public halves of a node's audit key."""

    node_id: str
    audit_key_id: str
    ed25519_public: bytes
    mldsa65_public: bytes
