"""What commands do to policies, roles, tenants and grants.

Whether the caller may is the service's question; these rules keep the tables
whole: ids are unique, a role names policies that exist, an etag is honoured,
numbers are bounded. `access_revision` is the revision of the last change, so that
a node knows when to compile its rules anew.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from qkms_node.ledger.access_records import GrantRecord, PolicyRecord, RoleRecord, TenantRecord
from qkms_node.ledger.commands import (
    CreateGrant,
    CreatePolicy,
    CreateRole,
    CreateTenant,
    DeletePolicy,
    DeleteRole,
    DeleteTenant,
    Outcome,
    RevokeGrant,
    UpdatePolicy,
    UpdateRole,
    UpdateTenant,
)
from qkms_node.ledger.state import Refusal, State

T = TypeVar("T")

EXPIRE_GRANT = "expire_grant"
MAX_RECORDS = 1_000
"""Of policies, of roles and of tenants."""
MAX_GRANTS = 10_000
MAX_GRANTS_OF_ONE = 1_000

_SINGULAR = {"policies": "POLICY", "roles": "ROLE", "tenants": "TENANT", "grants": "GRANT"}


def create_policy(state: State, command: CreatePolicy) -> Outcome:
    """Adds a policy."""
    _admit("policies", state.policies, command.policy_id)
    record = PolicyRecord(
        command.policy_id, command.description, command.rules, state.time_ms, state.time_ms, state.revision + 1
    )
    state.policies[record.policy_id] = record
    return _changed(state, policy=record)


def update_policy(state: State, command: UpdatePolicy) -> Outcome:
    """Replaces a policy's description and rules."""
    old = found("policies", state.policies, command.policy_id)
    _same("policies", command.policy_id, old.revision, command.expected_revision)
    record = replace(
        old,
        description=command.description,
        rules=command.rules,
        update_ms=state.time_ms,
        revision=state.revision + 1,
    )
    state.policies[record.policy_id] = record
    return _changed(state, policy=record)


def delete_policy(state: State, command: DeletePolicy) -> Outcome:
    """Removes a policy that no role names."""
    old = found("policies", state.policies, command.policy_id)
    _same("policies", command.policy_id, old.revision, command.expected_revision)
    users = sorted(role.role_id for role in state.roles.values() if command.policy_id in role.policies)
    if users:
        raise Refusal(
            "POLICY_IN_USE",
            f"policies/{command.policy_id} is named by roles/{users[0]}"
            f"{f' and {len(users) - 1} more' if users[1:] else ''}; take it out of the roles first",
            role=users[0],
        )
    del state.policies[command.policy_id]
    return _changed(state)


def create_role(state: State, command: CreateRole) -> Outcome:
    """Adds a role."""
    _admit("roles", state.roles, command.role_id)
    _known_policies(state, command.policies)
    record = RoleRecord(
        command.role_id,
        command.description,
        command.principals,
        command.policies,
        state.time_ms,
        state.time_ms,
        state.revision + 1,
    )
    state.roles[record.role_id] = record
    return _changed(state, role=record)


def update_role(state: State, command: UpdateRole) -> Outcome:
    """Replaces a role's description, principals and policies."""
    old = found("roles", state.roles, command.role_id)
    _same("roles", command.role_id, old.revision, command.expected_revision)
    _known_policies(state, command.policies)
    record = replace(
        old,
        description=command.description,
        principals=command.principals,
        policies=command.policies,
        update_ms=state.time_ms,
        revision=state.revision + 1,
    )
    state.roles[record.role_id] = record
    return _changed(state, role=record)


def delete_role(state: State, command: DeleteRole) -> Outcome:
    """Removes a role; its policies stay."""
    old = found("roles", state.roles, command.role_id)
    _same("roles", command.role_id, old.revision, command.expected_revision)
    del state.roles[command.role_id]
    return _changed(state)


def create_tenant(state: State, command: CreateTenant) -> Outcome:
    """Adds a tenant; keys of its prefix that exist already count."""
    _admit("tenants", state.tenants, command.tenant_id)
    record = TenantRecord(
        command.tenant_id,
        command.description,
        command.principals,
        command.max_keys,
        command.max_versions,
        command.max_sessions,
        state.time_ms,
        state.time_ms,
        state.revision + 1,
    )
    state.tenants[record.tenant_id] = record
    return _changed(state, tenant=record)


def update_tenant(state: State, command: UpdateTenant) -> Outcome:
    """Replaces a tenant's description, principals and quotas; what is over a new quota stays."""
    old = found("tenants", state.tenants, command.tenant_id)
    _same("tenants", command.tenant_id, old.revision, command.expected_revision)
    record = replace(
        old,
        description=command.description,
        principals=command.principals,
        max_keys=command.max_keys,
        max_versions=command.max_versions,
        max_sessions=command.max_sessions,
        update_ms=state.time_ms,
        revision=state.revision + 1,
    )
    state.tenants[record.tenant_id] = record
    return _changed(state, tenant=record)


def delete_tenant(state: State, command: DeleteTenant) -> Outcome:
    """Removes a tenant's quotas; its keys stay."""
    old = found("tenants", state.tenants, command.tenant_id)
    _same("tenants", command.tenant_id, old.revision, command.expected_revision)
    del state.tenants[command.tenant_id]
    return _changed(state)


def create_grant(state: State, command: CreateGrant) -> Outcome:
    """Lends the caller's rights until `ttl_ms` from now, by the ledger's time."""
    name, grantor = f"grants/{command.grant_id}", command.request.principal
    if command.grant_id in state.grants:
        raise Refusal("GRANT_EXISTS", f"{name} exists already; choose another grant_id", name=name)
    own = sum(grant.grantor == grantor for grant in state.grants.values())
    if own >= MAX_GRANTS_OF_ONE or len(state.grants) >= MAX_GRANTS:
        raise Refusal(
            "QUOTA_EXCEEDED", f"there are {own} grants of {grantor}; revoke some, or give a role instead"
        )
    record = GrantRecord(
        command.grant_id,
        grantor,
        command.grantee,
        command.actions,
        command.keys,
        command.context_keys,
        state.time_ms,
        state.time_ms + command.ttl_ms,
        state.revision + 1,
    )
    state.grants[record.grant_id] = record
    state.schedule(record.expire_ms, EXPIRE_GRANT, record.grant_id)
    return _changed(state, grant=record)


def revoke_grant(state: State, command: RevokeGrant) -> Outcome:
    """Ends a grant before its time."""
    record = found("grants", state.grants, command.grant_id)
    del state.grants[command.grant_id]
    return _changed(state, grant=record)


def expire_grant_due(state: State, grant_id: str, due_ms: int) -> bool:
    """Drops a grant whose time has ended; True if there was one."""
    grant = state.grants.get(grant_id)
    # Revoked, and made again under the same id for longer: not this one.
    if grant is None or grant.expire_ms != due_ms:
        return False
    del state.grants[grant_id]
    state.access_revision = state.revision + 1
    return True


def found(collection: str, table: Mapping[str, T], identifier: str) -> T:
    """The record, or the refusal that it is not there."""
    record = table.get(identifier)
    if record is None:
        name = f"{collection}/{identifier}"
        raise Refusal(f"{_SINGULAR[collection]}_NOT_FOUND", f"there is no {name}", name=name)
    return record


def _admit(collection: str, table: Mapping[str, object], identifier: str) -> None:
    name = f"{collection}/{identifier}"
    if identifier in table:
        raise Refusal(
            f"{_SINGULAR[collection]}_EXISTS",
            f"{name} exists already; update it, or choose another id",
            name=name,
        )
    if len(table) >= MAX_RECORDS:
        raise Refusal(
            "QUOTA_EXCEEDED", f"there are {len(table)} {collection}, the limit; delete some that nobody uses"
        )


def _same(collection: str, identifier: str, actual: int, expected: int) -> None:
    if expected and expected != actual:
        raise Refusal(
            "ETAG_MISMATCH",
            f"{collection}/{identifier} was changed at revision {actual}; read it again and decide anew",
            expected=expected,
            actual=actual,
        )


def _known_policies(state: State, policies: tuple[str, ...]) -> None:
    for policy_id in policies:
        found("policies", state.policies, policy_id)


def _changed(
    state: State,
    policy: PolicyRecord | None = None,
    role: RoleRecord | None = None,
    tenant: TenantRecord | None = None,
    grant: GrantRecord | None = None,
) -> Outcome:
    state.access_revision = state.revision + 1
    return Outcome(state.revision + 1, changed=True, policy=policy, role=role, tenant=tenant, grant=grant)
