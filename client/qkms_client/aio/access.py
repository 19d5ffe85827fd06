"""PolicyService: policies and roles."""

from collections.abc import AsyncIterator, Iterable
from uuid import UUID

from qkms_client.access_types import AccessRole, Policy, Rule
from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import policy as flows


class AsyncAccessCalls(AsyncRunner):
    """Records are named `billing` or in full, `policies/billing`.

    An `etag`, from the record read before, lets an update or deletion take effect only if nobody
    changed the record meanwhile: else EtagMismatch. `request_id` and `timeout` as for keys.
    """

    async def create_policy(
        self,
        policy_id: str,
        rules: Iterable[Rule],
        *,
        description: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Policy:
        """As Client.create_policy."""
        identifier = new_request_id(request_id)
        return await self._run(
            flows.create_policy(self._rules, policy_id, description, rules, identifier, timeout)
        )

    async def update_policy(
        self,
        policy: str | Policy,
        rules: Iterable[Rule],
        *,
        description: str = "",
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Policy:
        """As Client.update_policy."""
        name, identifier = _name(policy), new_request_id(request_id)
        return await self._run(
            flows.update_policy(self._rules, name, etag, description, rules, identifier, timeout)
        )

    async def delete_policy(
        self,
        policy: str | Policy,
        *,
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> bool:
        """As Client.delete_policy."""
        identifier = new_request_id(request_id)
        return await self._run(flows.delete_policy(self._rules, _name(policy), etag, identifier, timeout))

    async def get_policy(
        self, policy: str | Policy, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Policy:
        """As Client.get_policy."""
        return await self._run(flows.get_policy(self._rules, _name(policy), consistency, timeout))

    async def list_policies(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> AsyncIterator[Policy]:
        """As Client.list_policies."""
        token = ""
        while True:
            found, token = await self._run(flows.policy_page(self._rules, token, page_size, consistency, timeout))
            for each in found:
                yield each
            if not token:
                return

    async def create_role(
        self,
        role_id: str,
        *,
        principals: Iterable[str],
        policies: Iterable[str],
        description: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> AccessRole:
        """As Client.create_role."""
        identifier = new_request_id(request_id)
        return await self._run(
            flows.create_role(self._rules, role_id, description, principals, policies, identifier, timeout)
        )

    async def update_role(
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
        """As Client.update_role."""
        name, identifier = _name(role), new_request_id(request_id)
        return await self._run(
            flows.update_role(self._rules, name, etag, description, principals, policies, identifier, timeout)
        )

    async def delete_role(
        self,
        role: str | AccessRole,
        *,
        etag: str | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> bool:
        """As Client.delete_role."""
        identifier = new_request_id(request_id)
        return await self._run(flows.delete_role(self._rules, _name(role), etag, identifier, timeout))

    async def get_role(
        self, role: str | AccessRole, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> AccessRole:
        """As Client.get_role."""
        return await self._run(flows.get_role(self._rules, _name(role), consistency, timeout))

    async def list_roles(
        self, *, page_size: int = 100, consistency: Consistency | None = None, timeout: float | None = None
    ) -> AsyncIterator[AccessRole]:
        """As Client.list_roles."""
        token = ""
        while True:
            found, token = await self._run(flows.role_page(self._rules, token, page_size, consistency, timeout))
            for each in found:
                yield each
            if not token:
                return


def _name(record: str | Policy | AccessRole) -> str:
    return record if isinstance(record, str) else record.name
