"""PolicyService: policies, roles, tenants, grants."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

from qkms_client import names
from qkms_client.access_types import AccessRole, Explanation, Grant, Policy, Rule, Tenant
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.enums import Grade
from qkms_client.flows import policy as flows
from qkms_client.sync.runner import Runner


class AccessCalls(Runner):
    """Records are named `billing` or in full, `policies/billing`.

    An `etag`, from the record read before, lets an update or deletion take effect only if nobody
    changed the record meanwhile: else EtagMismatch. `request_id` and `timeout` as for keys.
    """

    def create_policy(
        self,
        policy_id: str,
        rules: Iterable[Rule],
        *,
        description: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Policy:
        """Creates a policy of 1 to 64 rules. Raises PolicyExists, InvalidField."""
        identifier = new_request_id(request_id)
        return self._run(flows.create_policy(self._rules, policy_id, description, rules, identifier, timeout))

    def update_policy(
        self,
        policy: str | Policy,
        rules: Iterable[Rule],
        *,
        description: str = "",
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Policy:
        """Replaces all of it. Raises PolicyNotFound, EtagMismatch."""
        name, identifier = _name(policy), new_request_id(request_id)
        return self._run(flows.update_policy(self._rules, name, etag, description, rules, identifier, timeout))

    def delete_policy(
        self,
        policy: str | Policy,
        *,
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Deletes it; True when this repeated an earlier request. Raises PolicyNotFound, PolicyInUse."""
        identifier = new_request_id(request_id)
        return self._run(flows.delete_policy(self._rules, _name(policy), etag, identifier, timeout))

    def get_policy(
        self, policy: str | Policy, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Policy:
        """Its record. Raises PolicyNotFound."""
        return self._run(flows.get_policy(self._rules, _name(policy), consistency, timeout))

    def list_policies(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Iterator[Policy]:
        """All, in order of name; fetches page by page."""
        token = ""
        while True:
            found, token = self._run(flows.policy_page(self._rules, token, page_size, consistency, timeout))
            yield from found
            if not token:
                return

    def create_role(
        self,
        role_id: str,
        *,
        principals: Iterable[str],
        policies: Iterable[str],
        description: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> AccessRole:
        """Creates a role: gives policies to the principals that match. Raises RoleExists, PolicyNotFound."""
        identifier = new_request_id(request_id)
        return self._run(
            flows.create_role(self._rules, role_id, description, principals, policies, identifier, timeout)
        )

    def update_role(
        self,
        role: str | AccessRole,
        *,
        principals: Iterable[str],
        policies: Iterable[str],
        description: str = "",
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> AccessRole:
        """Replaces all of it. Raises RoleNotFound, EtagMismatch."""
        name, identifier = _name(role), new_request_id(request_id)
        return self._run(
            flows.update_role(self._rules, name, etag, description, principals, policies, identifier, timeout)
        )

    def delete_role(
        self,
        role: str | AccessRole,
        *,
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Deletes it; True when this repeated an earlier request. Raises RoleNotFound."""
        identifier = new_request_id(request_id)
        return self._run(flows.delete_role(self._rules, _name(role), etag, identifier, timeout))

    def get_role(
        self, role: str | AccessRole, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> AccessRole:
        """Its record. Raises RoleNotFound."""
        return self._run(flows.get_role(self._rules, _name(role), consistency, timeout))

    def list_roles(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Iterator[AccessRole]:
        """All, in order of name; fetches page by page."""
        token = ""
        while True:
            found, token = self._run(flows.role_page(self._rules, token, page_size, consistency, timeout))
            yield from found
            if not token:
                return

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


def _name(record: str | Policy | AccessRole | Tenant | Grant) -> str:
    return record if isinstance(record, str) else record.name
