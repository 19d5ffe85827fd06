"""Access: policies, roles, tenants, grants, and why a call is allowed or not."""

from collections.abc import Iterable
from datetime import timedelta

from qkms.v1 import policy_pb2 as pb
from qkms_client import access_types as t
from qkms_client import decode_access as decode
from qkms_client import methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency, duration
from qkms_client.decode import header
from qkms_client.enums import Grade
from qkms_client.flow import Flow
from qkms_client.names import key_name


def named(collection: str, name: str) -> str:
    """`billing` or `policies/billing` as `policies/billing`."""
    return name if name.startswith(f"{collection}/") else f"{collection}/{name}"


def create_policy(
    rules: Rules,
    policy_id: str,
    description: str,
    policy_rules: Iterable[t.Rule],
    request_id: str,
    timeout: float | None,
) -> Flow[t.Policy]:
    """CreatePolicy."""
    request = pb.CreatePolicyRequest(
        request_id=request_id,
        policy_id=policy_id.removeprefix("policies/"),
        description=description,
        rules=decode.rules_out(policy_rules),
    )
    response = yield from call(rules, methods.CREATE_POLICY, request, timeout=timeout)
    return decode.policy(response.policy, header(response.header), response.replayed)


def update_policy(
    rules: Rules,
    name: str,
    etag: str | None,
    description: str,
    policy_rules: Iterable[t.Rule],
    request_id: str,
    timeout: float | None,
) -> Flow[t.Policy]:
    """UpdatePolicy."""
    request = pb.UpdatePolicyRequest(
        request_id=request_id,
        name=named("policies", name),
        etag=etag or "",
        description=description,
        rules=decode.rules_out(policy_rules),
    )
    response = yield from call(rules, methods.UPDATE_POLICY, request, timeout=timeout)
    return decode.policy(response.policy, header(response.header), response.replayed)


def delete_policy(rules: Rules, name: str, etag: str | None, request_id: str, timeout: float | None) -> Flow[bool]:
    """DeletePolicy; whether this repeated an earlier request."""
    request = pb.DeletePolicyRequest(request_id=request_id, name=named("policies", name), etag=etag or "")
    response = yield from call(rules, methods.DELETE_POLICY, request, timeout=timeout)
    return response.replayed


def get_policy(rules: Rules, name: str, consistency: Consistency | None, timeout: float | None) -> Flow[t.Policy]:
    """GetPolicy."""
    request = pb.GetPolicyRequest(name=named("policies", name))
    response = yield from call(rules, methods.GET_POLICY, request, consistency=consistency, timeout=timeout)
    return decode.policy(response.policy, header(response.header))


def policy_page(
    rules: Rules, page_token: str, page_size: int, consistency: Consistency | None, timeout: float | None
) -> Flow[tuple[list[t.Policy], str]]:
    """One page of ListPolicies and the token of the next, empty after the last."""
    request = pb.ListPoliciesRequest(page_token=page_token, page_size=page_size)
    response = yield from call(rules, methods.LIST_POLICIES, request, consistency=consistency, timeout=timeout)
    head = header(response.header)
    return [decode.policy(each, head) for each in response.policies], response.next_page_token


def create_role(
    rules: Rules,
    role_id: str,
    description: str,
    principals: Iterable[str],
    policies: Iterable[str],
    request_id: str,
    timeout: float | None,
) -> Flow[t.AccessRole]:
    """CreateRole."""
    request = pb.CreateRoleRequest(
        request_id=request_id,
        role_id=role_id.removeprefix("roles/"),
        description=description,
        principals=principals,
        policies=[named("policies", each) for each in policies],
    )
    response = yield from call(rules, methods.CREATE_ROLE, request, timeout=timeout)
    return decode.role(response.role, header(response.header), response.replayed)


def update_role(
    rules: Rules,
    name: str,
    etag: str | None,
    description: str,
    principals: Iterable[str],
    policies: Iterable[str],
    request_id: str,
    timeout: float | None,
) -> Flow[t.AccessRole]:
    """UpdateRole."""
    request = pb.UpdateRoleRequest(
        request_id=request_id,
        name=named("roles", name),
        etag=etag or "",
        description=description,
        principals=principals,
        policies=[named("policies", each) for each in policies],
    )
    response = yield from call(rules, methods.UPDATE_ROLE, request, timeout=timeout)
    return decode.role(response.role, header(response.header), response.replayed)


def delete_role(rules: Rules, name: str, etag: str | None, request_id: str, timeout: float | None) -> Flow[bool]:
    """DeleteRole; whether this repeated an earlier request."""
    request = pb.DeleteRoleRequest(request_id=request_id, name=named("roles", name), etag=etag or "")
    response = yield from call(rules, methods.DELETE_ROLE, request, timeout=timeout)
    return response.replayed


def get_role(
    rules: Rules, name: str, consistency: Consistency | None, timeout: float | None
) -> Flow[t.AccessRole]:
    """GetRole."""
    request = pb.GetRoleRequest(name=named("roles", name))
    response = yield from call(rules, methods.GET_ROLE, request, consistency=consistency, timeout=timeout)
    return decode.role(response.role, header(response.header))


def role_page(
    rules: Rules, page_token: str, page_size: int, consistency: Consistency | None, timeout: float | None
) -> Flow[tuple[list[t.AccessRole], str]]:
    """One page of ListRoles and the token of the next, empty after the last."""
    request = pb.ListRolesRequest(page_token=page_token, page_size=page_size)
    response = yield from call(rules, methods.LIST_ROLES, request, consistency=consistency, timeout=timeout)
    head = header(response.header)
    return [decode.role(each, head) for each in response.roles], response.next_page_token


def create_tenant(
    rules: Rules,
    tenant_id: str,
    description: str,
    principals: Iterable[str],
    quotas: tuple[int, int, int],
    request_id: str,
    timeout: float | None,
) -> Flow[t.Tenant]:
    """CreateTenant."""
    request = pb.CreateTenantRequest(
        request_id=request_id,
        tenant_id=tenant_id.removeprefix("tenants/"),
        description=description,
        principals=principals,
        max_keys=quotas[0],
        max_versions=quotas[1],
        max_sessions=quotas[2],
    )
    response = yield from call(rules, methods.CREATE_TENANT, request, timeout=timeout)
    return decode.tenant(response.tenant, header(response.header), response.replayed)


def update_tenant(
    rules: Rules,
    name: str,
    etag: str | None,
    description: str,
    principals: Iterable[str],
    quotas: tuple[int, int, int],
    request_id: str,
    timeout: float | None,
) -> Flow[t.Tenant]:
    """UpdateTenant."""
    request = pb.UpdateTenantRequest(
        request_id=request_id,
        name=named("tenants", name),
        etag=etag or "",
        description=description,
        principals=principals,
        max_keys=quotas[0],
        max_versions=quotas[1],
        max_sessions=quotas[2],
    )
    response = yield from call(rules, methods.UPDATE_TENANT, request, timeout=timeout)
    return decode.tenant(response.tenant, header(response.header), response.replayed)


def delete_tenant(rules: Rules, name: str, etag: str | None, request_id: str, timeout: float | None) -> Flow[bool]:
    """DeleteTenant; whether this repeated an earlier request."""
    request = pb.DeleteTenantRequest(request_id=request_id, name=named("tenants", name), etag=etag or "")
    response = yield from call(rules, methods.DELETE_TENANT, request, timeout=timeout)
    return response.replayed


def get_tenant(rules: Rules, name: str, consistency: Consistency | None, timeout: float | None) -> Flow[t.Tenant]:
    """GetTenant."""
    request = pb.GetTenantRequest(name=named("tenants", name))
    response = yield from call(rules, methods.GET_TENANT, request, consistency=consistency, timeout=timeout)
    return decode.tenant(response.tenant, header(response.header))


def tenant_page(
    rules: Rules, page_token: str, page_size: int, consistency: Consistency | None, timeout: float | None
) -> Flow[tuple[list[t.Tenant], str]]:
    """One page of ListTenants and the token of the next, empty after the last."""
    request = pb.ListTenantsRequest(page_token=page_token, page_size=page_size)
    response = yield from call(rules, methods.LIST_TENANTS, request, consistency=consistency, timeout=timeout)
    head = header(response.header)
    return [decode.tenant(each, head) for each in response.tenants], response.next_page_token


def create_grant(
    rules: Rules,
    grant_id: str,
    grantee: str,
    actions: Iterable[str],
    keys: Iterable[str],
    ttl: timedelta,
    context_keys: Iterable[str],
    request_id: str,
    timeout: float | None,
) -> Flow[t.Grant]:
    """CreateGrant."""
    request = pb.CreateGrantRequest(
        request_id=request_id,
        grant_id=grant_id,
        grantee=grantee,
        actions=actions,
        keys=map(key_name, keys),
        context_keys=context_keys,
        ttl=duration(ttl),
    )
    response = yield from call(rules, methods.CREATE_GRANT, request, timeout=timeout)
    return decode.grant(response.grant, header(response.header), response.replayed)


def revoke_grant(rules: Rules, name: str, request_id: str, timeout: float | None) -> Flow[bool]:
    """RevokeGrant; whether this repeated an earlier request."""
    request = pb.RevokeGrantRequest(request_id=request_id, name=named("grants", name))
    response = yield from call(rules, methods.REVOKE_GRANT, request, timeout=timeout)
    return response.replayed


def grant_page(
    rules: Rules, page_token: str, page_size: int, consistency: Consistency | None, timeout: float | None
) -> Flow[tuple[list[t.Grant], str]]:
    """One page of ListGrants and the token of the next, empty after the last."""
    request = pb.ListGrantsRequest(page_token=page_token, page_size=page_size)
    response = yield from call(rules, methods.LIST_GRANTS, request, consistency=consistency, timeout=timeout)
    head = header(response.header)
    return [decode.grant(each, head) for each in response.grants], response.next_page_token


def explain_policy(
    rules: Rules,
    principal: str,
    action: str,
    key: str | None,
    context_keys: Iterable[str],
    grade: Grade | None,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[t.Explanation]:
    """ExplainPolicy."""
    request = pb.ExplainPolicyRequest(
        principal=principal, action=action, key=key_name(key) if key else "", context_keys=context_keys
    )
    request.grade = (grade or Grade.UNSPECIFIED).value  # type: ignore[assignment]
    response = yield from call(rules, methods.EXPLAIN_POLICY, request, consistency=consistency, timeout=timeout)
    return decode.explanation(response)
