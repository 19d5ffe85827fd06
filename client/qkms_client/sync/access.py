"""PolicyService: policies and roles."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from qkms_client.access_types import AccessRole, Policy, Rule
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
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


def _name(record: str | Policy | AccessRole) -> str:
    return record if isinstance(record, str) else record.name
