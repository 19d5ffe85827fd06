"""PolicyService: tenants, grants, and why a call is allowed or not."""

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from uuid import UUID, uuid4

from qkms_client import names
from qkms_client.access_types import Explanation, Grant, Tenant
from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.enums import Grade
from qkms_client.flows import policy as flows


class AsyncTenantCalls(AsyncRunner):
    """Names, `etag`, `request_id` and `timeout` as for policies."""

    async def create_tenant(
        self,
        tenant_id: str,
        *,
        max_keys: int = 0,
        max_versions: int = 0,
        max_sessions: int = 0,
        principals: Iterable[str] = (),
        description: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Tenant:
        """As Client.create_tenant."""
        identifier = new_request_id(request_id)
        return await self._run(
            flows.create_tenant(
                self._rules,
                tenant_id,
                description,
                principals,
                (max_keys, max_versions, max_sessions),
                identifier,
                timeout,
            )
        )

    async def update_tenant(
        self,
        tenant: str | Tenant,
        *,
        max_keys: int = 0,
        max_versions: int = 0,
        max_sessions: int = 0,
        principals: Iterable[str] = (),
        description: str = "",
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Tenant:
        """As Client.update_tenant."""
        name, identifier = _name(tenant), new_request_id(request_id)
        return await self._run(
            flows.update_tenant(
                self._rules,
                name,
                etag,
                description,
                principals,
                (max_keys, max_versions, max_sessions),
                identifier,
                timeout,
            )
        )

    async def delete_tenant(
        self,
        tenant: str | Tenant,
        *,
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> bool:
        """As Client.delete_tenant."""
        identifier = new_request_id(request_id)
        return await self._run(flows.delete_tenant(self._rules, _name(tenant), etag, identifier, timeout))

    async def get_tenant(
        self, tenant: str | Tenant, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Tenant:
        """As Client.get_tenant."""
        return await self._run(flows.get_tenant(self._rules, _name(tenant), consistency, timeout))

    async def list_tenants(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> AsyncIterator[Tenant]:
        """As Client.list_tenants."""
        token = ""
        while True:
            found, token = await self._run(flows.tenant_page(self._rules, token, page_size, consistency, timeout))
            for each in found:
                yield each
            if not token:
                return

    async def create_grant(
        self,
        grantee: str,
        *,
        actions: Iterable[str],
        keys: Iterable[str],
        ttl: timedelta,
        context_keys: Iterable[str] = (),
        grant_id: str | UUID | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Grant:
        """As Client.create_grant."""
        made = names.request_id(grant_id if grant_id is not None else uuid4())
        identifier = new_request_id(request_id)
        return await self._run(
            flows.create_grant(self._rules, made, grantee, actions, keys, ttl, context_keys, identifier, timeout)
        )

    async def revoke_grant(
        self, grant: str | Grant, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> bool:
        """As Client.revoke_grant."""
        identifier = new_request_id(request_id)
        return await self._run(flows.revoke_grant(self._rules, _name(grant), identifier, timeout))

    async def list_grants(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> AsyncIterator[Grant]:
        """As Client.list_grants."""
        token = ""
        while True:
            found, token = await self._run(flows.grant_page(self._rules, token, page_size, consistency, timeout))
            for each in found:
                yield each
            if not token:
                return

    async def explain_policy(
        self,
        principal: str,
        action: str,
        key: str | None = None,
        *,
        context_keys: Iterable[str] = (),
        grade: Grade | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Explanation:
        """As Client.explain_policy."""
        return await self._run(
            flows.explain_policy(self._rules, principal, action, key, context_keys, grade, consistency, timeout)
        )


def _name(record: str | Tenant | Grant) -> str:
    return record if isinstance(record, str) else record.name
