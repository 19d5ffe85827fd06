"""PolicyService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.v1 import policy_pb2 as pb
from qkms.v1 import policy_pb2_grpc
from qkms_node.access.policy import Call
from qkms_node.ledger import commands as c
from qkms_node.rpc import access_fields as own
from qkms_node.rpc import access_messages as messages
from qkms_node.rpc import fields
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.service.access import Access
from qkms_node.service.freshness import LINEARIZABLE

Context = grpc.aio.ServicerContext[Any, Any]

MIN_TTL_MS = 1_000
MAX_TTL_MS = 30 * 24 * 3600 * 1000


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """Serves qkms.v1.PolicyService."""

    def __init__(self, access: Access, headers: Headers) -> None:
        self._access = access
        self._headers = headers

    async def CreatePolicy(self, request: pb.CreatePolicyRequest, context: Context) -> pb.CreatePolicyResponse:
        command = c.CreatePolicy(
            mutation_request(request, request.request_id),
            fields.key_id("policy_id", request.policy_id),
            own.description(request.description),
            own.rules(request.rules),
        )
        outcome = await self._access.change("policies.create", command)
        assert outcome.policy is not None
        return pb.CreatePolicyResponse(
            header=self._headers.make(), policy=messages.policy(outcome.policy), replayed=outcome.replayed
        )

    async def UpdatePolicy(self, request: pb.UpdatePolicyRequest, context: Context) -> pb.UpdatePolicyResponse:
        command = c.UpdatePolicy(
            mutation_request(request, request.request_id),
            own.resource("name", "policies", request.name),
            own.etag(request.etag),
            own.description(request.description),
            own.rules(request.rules),
        )
        outcome = await self._access.change("policies.update", command)
        assert outcome.policy is not None
        return pb.UpdatePolicyResponse(
            header=self._headers.make(), policy=messages.policy(outcome.policy), replayed=outcome.replayed
        )

    async def DeletePolicy(self, request: pb.DeletePolicyRequest, context: Context) -> pb.DeletePolicyResponse:
        identity = mutation_request(request, request.request_id)
        command = c.DeletePolicy(identity, own.resource("name", "policies", request.name), own.etag(request.etag))
        outcome = await self._access.change("policies.delete", command)
        return pb.DeletePolicyResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        identifier = own.resource("name", "policies", request.name)
        record = await self._access.policy(caller.get(), identifier, wanted)
        return pb.GetPolicyResponse(header=self._headers.make(wanted), policy=messages.policy(record))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        size = fields.page_size(request.page_size)
        after = fields.key_id("page_token", request.page_token) if request.page_token else ""
        records = await self._access.policies(caller.get(), after, size, wanted)
        return pb.ListPoliciesResponse(
            header=self._headers.make(wanted),
            policies=[messages.policy(record) for record in records],
            next_page_token=records[-1].policy_id if len(records) == size else "",
        )

    async def CreateRole(self, request: pb.CreateRoleRequest, context: Context) -> pb.CreateRoleResponse:
        command = c.CreateRole(
            mutation_request(request, request.request_id),
            fields.key_id("role_id", request.role_id),
            own.description(request.description),
            own.principals(request.principals),
            own.policies(request.policies),
        )
        outcome = await self._access.change("roles.create", command)
        assert outcome.role is not None
        return pb.CreateRoleResponse(
            header=self._headers.make(), role=messages.role(outcome.role), replayed=outcome.replayed
        )

    async def UpdateRole(self, request: pb.UpdateRoleRequest, context: Context) -> pb.UpdateRoleResponse:
        command = c.UpdateRole(
            mutation_request(request, request.request_id),
            own.resource("name", "roles", request.name),
            own.etag(request.etag),
            own.description(request.description),
            own.principals(request.principals),
            own.policies(request.policies),
        )
        outcome = await self._access.change("roles.update", command)
        assert outcome.role is not None
        return pb.UpdateRoleResponse(
            header=self._headers.make(), role=messages.role(outcome.role), replayed=outcome.replayed
        )

    async def DeleteRole(self, request: pb.DeleteRoleRequest, context: Context) -> pb.DeleteRoleResponse:
        identity = mutation_request(request, request.request_id)
        command = c.DeleteRole(identity, own.resource("name", "roles", request.name), own.etag(request.etag))
        outcome = await self._access.change("roles.delete", command)
        return pb.DeleteRoleResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def GetRole(self, request: pb.GetRoleRequest, context: Context) -> pb.GetRoleResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        identifier = own.resource("name", "roles", request.name)
        record = await self._access.role(caller.get(), identifier, wanted)
        return pb.GetRoleResponse(header=self._headers.make(wanted), role=messages.role(record))

    async def ListRoles(self, request: pb.ListRolesRequest, context: Context) -> pb.ListRolesResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        size = fields.page_size(request.page_size)
        after = fields.key_id("page_token", request.page_token) if request.page_token else ""
        records = await self._access.roles(caller.get(), after, size, wanted)
        return pb.ListRolesResponse(
            header=self._headers.make(wanted),
            roles=[messages.role(record) for record in records],
            next_page_token=records[-1].role_id if len(records) == size else "",
        )

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Context) -> pb.CreateTenantResponse:
        command = c.CreateTenant(
            mutation_request(request, request.request_id),
            own.tenant_id("tenant_id", request.tenant_id),
            own.description(request.description),
            own.principals(request.principals, needed=False),
            own.quota("max_keys", request.max_keys),
            own.quota("max_versions", request.max_versions),
            own.quota("max_sessions", request.max_sessions),
        )
        outcome = await self._access.change("tenants.create", command)
        assert outcome.tenant is not None
        return pb.CreateTenantResponse(
            header=self._headers.make(),
            tenant=messages.quotas(outcome.tenant),
            replayed=outcome.replayed,
        )

    async def UpdateTenant(self, request: pb.UpdateTenantRequest, context: Context) -> pb.UpdateTenantResponse:
        command = c.UpdateTenant(
            mutation_request(request, request.request_id),
            own.resource("name", "tenants", request.name),
            own.etag(request.etag),
            own.description(request.description),
            own.principals(request.principals, needed=False),
            own.quota("max_keys", request.max_keys),
            own.quota("max_versions", request.max_versions),
            own.quota("max_sessions", request.max_sessions),
        )
        outcome = await self._access.change("tenants.update", command)
        assert outcome.tenant is not None
        return pb.UpdateTenantResponse(
            header=self._headers.make(),
            tenant=messages.quotas(outcome.tenant),
            replayed=outcome.replayed,
        )

    async def DeleteTenant(self, request: pb.DeleteTenantRequest, context: Context) -> pb.DeleteTenantResponse:
        identity = mutation_request(request, request.request_id)
        command = c.DeleteTenant(identity, own.resource("name", "tenants", request.name), own.etag(request.etag))
        outcome = await self._access.change("tenants.delete", command)
        return pb.DeleteTenantResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def GetTenant(self, request: pb.GetTenantRequest, context: Context) -> pb.GetTenantResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        identifier = own.resource("name", "tenants", request.name)
        record = await self._access.tenant(caller.get(), identifier, wanted)
        return pb.GetTenantResponse(header=self._headers.make(wanted), tenant=messages.tenant(record))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> pb.ListTenantsResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        size = fields.page_size(request.page_size)
        after = fields.key_id("page_token", request.page_token) if request.page_token else ""
        records = await self._access.tenants(caller.get(), after, size, wanted)
        return pb.ListTenantsResponse(
            header=self._headers.make(wanted),
            tenants=[messages.tenant(record) for record in records],
            next_page_token=records[-1].record.tenant_id if len(records) == size else "",
        )

    async def CreateGrant(self, request: pb.CreateGrantRequest, context: Context) -> pb.CreateGrantResponse:
        command = c.CreateGrant(
            mutation_request(request, request.request_id),
            fields.uuid_text("grant_id", request.grant_id),
            own.principal("grantee", request.grantee),
            own.lent_actions(request.actions),
            own.lent_keys(request.keys),
            own.context_keys("context_keys", request.context_keys),
            fields.milliseconds("ttl", request.ttl, MIN_TTL_MS, MAX_TTL_MS),
        )
        outcome = await self._access.create_grant(command)
        assert outcome.grant is not None
        return pb.CreateGrantResponse(
            header=self._headers.make(), grant=messages.grant(outcome.grant), replayed=outcome.replayed
        )

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        grant_id = fields.uuid_text("name", request.name.removeprefix("grants/"))
        identity = mutation_request(request, request.request_id)
        outcome = await self._access.revoke_grant(c.RevokeGrant(identity, grant_id))
        return pb.RevokeGrantResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        size = fields.page_size(request.page_size)
        after = fields.uuid_text("page_token", request.page_token) if request.page_token else ""
        records = await self._access.grants(caller.get(), after, size, wanted)
        return pb.ListGrantsResponse(
            header=self._headers.make(wanted),
            grants=[messages.grant(record) for record in records],
            next_page_token=records[-1].grant_id if len(records) == size else "",
        )

    async def ExplainPolicy(self, request: pb.ExplainPolicyRequest, context: Context) -> pb.ExplainPolicyResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        call = Call(
            own.principal("principal", request.principal),
            own.action("action", request.action),
            fields.key_name("key", request.key) if request.key else "",
            frozenset(own.context_keys("context_keys", request.context_keys)),
            fields.grade("grade", request.grade),
        )
        response = messages.explanation(await self._access.explain(caller.get(), call, wanted))
        response.header.CopyFrom(self._headers.make(wanted))
        return response
