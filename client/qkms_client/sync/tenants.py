"""PolicyService: tenants, grants, and why a call is allowed or not."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

from qkms_client import names
from qkms_client.access_types import Explanation, Grant, Tenant
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.enums import Grade
from qkms_client.flows import policy as flows
from qkms_client.sync.runner import Runner


class TenantCalls(Runner):
    """Names, `etag`, `request_id` and `timeout` as for policies."""

    def create_tenant(
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
        """Creates a tenant, with quotas (0: none) on keys named `{tenant_id}.…`. Raises TenantExists."""
        identifier = new_request_id(request_id)
        return self._run(
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

    def update_tenant(
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
        """Replaces all of it. Raises TenantNotFound, EtagMismatch."""
        name, identifier = _name(tenant), new_request_id(request_id)
        return self._run(
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

    def delete_tenant(
        self,
        tenant: str | Tenant,
        *,
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Deletes it; True when this repeated an earlier request. Raises TenantNotFound."""
        identifier = new_request_id(request_id)
        return self._run(flows.delete_tenant(self._rules, _name(tenant), etag, identifier, timeout))

    def get_tenant(
        self, tenant: str | Tenant, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Tenant:
        """Its record. Raises TenantNotFound."""
        return self._run(flows.get_tenant(self._rules, _name(tenant), consistency, timeout))

    def list_tenants(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Iterator[Tenant]:
        """All, in order of name; fetches page by page."""
        token = ""
        while True:
            found, token = self._run(flows.tenant_page(self._rules, token, page_size, consistency, timeout))
            yield from found
            if not token:
                return

    def create_grant(
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
        """Lends rights that this caller holds by rules; it gives no more than they do when it is used.

        Repeat after OutcomeUnknown with the same grant_id. Raises PermissionDenied, GrantExists.
        """
        made = names.request_id(grant_id if grant_id is not None else uuid4())
        identifier = new_request_id(request_id)
        return self._run(
            flows.create_grant(self._rules, made, grantee, actions, keys, ttl, context_keys, identifier, timeout)
        )

    def revoke_grant(
        self, grant: str | Grant, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> bool:
        """Ends a grant; True when this repeated an earlier request. Raises GrantNotFound."""
        identifier = new_request_id(request_id)
        return self._run(flows.revoke_grant(self._rules, _name(grant), identifier, timeout))

    def list_grants(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Iterator[Grant]:
        """Grants that this caller gave or was given, or all where policy allows it."""
        token = ""
        while True:
            found, token = self._run(flows.grant_page(self._rules, token, page_size, consistency, timeout))
            yield from found
            if not token:
                return

    def explain_policy(
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
        """Which rule decides whether `principal` may do `action`, and why; changes nothing."""
        return self._run(
            flows.explain_policy(self._rules, principal, action, key, context_keys, grade, consistency, timeout)
        )


def _name(record: str | Tenant | Grant) -> str:
    return record if isinstance(record, str) else record.name
