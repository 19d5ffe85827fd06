"""Use cases of PolicyService: authorise, then propose; or read; or explain.

Whoever may create or update policies and roles can give itself any right:
policies.* and roles.* are the rights of an administrator. A grant can be
made by anyone who may `grants.create` on its keys and who holds, by rules,
what it lends; what the grantor loses later, the grant loses with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import TypeVar

from qkms_node.access.guard import Guard
from qkms_node.access.policy import Call, Explanation
from qkms_node.errors import QkmsError
from qkms_node.ledger.access_records import GrantRecord, PolicyRecord, RoleRecord, TenantRecord
from qkms_node.ledger.access_rules import found
from qkms_node.ledger.commands import AnyCommand, CreateGrant, Mutation, Outcome, RevokeGrant
from qkms_node.ledger.quota_rules import sessions_of
from qkms_node.ledger.state import State
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Wanted
from qkms_node.service.proposing import Proposer
from qkms_node.service.reading import admit
from qkms_node.service.store import LedgerStore

T = TypeVar("T")


@dataclass(frozen=True)
class TenantView:
    """A tenant, and what it has at this moment."""

    record: TenantRecord
    keys: int
    versions: int
    sessions: int


class Access:
    """Policies, roles, tenants, grants, and why a call is allowed or not."""

    def __init__(self, guard: Guard, store: LedgerStore, proposer: Proposer, freshness: Freshness) -> None:
        self._guard = guard
        self._store = store
        self._proposer = proposer
        self._freshness = freshness

    async def change(self, action: str, command: AnyCommand) -> Outcome:
        """Creates, updates or deletes a policy, role or tenant. Raises QkmsError."""
        assert isinstance(command, Mutation)
        self._guard.require(command.request.principal, action)
        return await self._proposer.effect(command)

    async def create_grant(self, command: CreateGrant) -> Outcome:
        """Lends rights that the caller holds. Raises QkmsError PERMISSION_DENIED naming what it does not."""
        grantor = command.request.principal
        for key_id in command.keys:
            self._guard.require(grantor, "grants.create", key_id)
            for action in command.actions:
                if not self._guard.holds(grantor, action, key_id, command.context_keys):
                    raise QkmsError(
                        "PERMISSION_DENIED",
                        f"{grantor} cannot lend {action} on keys/{key_id}: no rule gives it that right itself",
                        principal=grantor,
                        action=action,
                    )
        return await self._proposer.effect(command)

    async def revoke_grant(self, command: RevokeGrant) -> Outcome:
        """Ends a grant: for its grantor and grantee, and for whom policy allows grants.revoke."""
        principal = command.request.principal
        await self._freshness.ensure(LINEARIZABLE)
        with self._store.view() as state:
            # A grant that is gone can only be the subject of a repetition: nothing else is worth an entry.
            repeated = command.request.request_id in state.requests
            grant = (
                state.grants.get(command.grant_id) if repeated else found("grants", state.grants, command.grant_id)
            )
        if grant is not None and principal not in (grant.grantor, grant.grantee):
            self._guard.require(principal, "grants.revoke")
        return await self._proposer.effect(command)

    async def policy(self, principal: str, policy_id: str, wanted: Wanted) -> PolicyRecord:
        """One policy."""
        await admit(self._guard, self._freshness, wanted, principal, "policies.get")
        with self._store.view() as state:
            return found("policies", state.policies, policy_id)

    async def policies(self, principal: str, after: str, limit: int, wanted: Wanted) -> list[PolicyRecord]:
        """Up to `limit` policies by id, after `after`."""
        await admit(self._guard, self._freshness, wanted, principal, "policies.list")
        with self._store.view() as state:
            return _page(state.policies, after, limit)

    async def role(self, principal: str, role_id: str, wanted: Wanted) -> RoleRecord:
        """One role."""
        await admit(self._guard, self._freshness, wanted, principal, "roles.get")
        with self._store.view() as state:
            return found("roles", state.roles, role_id)

    async def roles(self, principal: str, after: str, limit: int, wanted: Wanted) -> list[RoleRecord]:
        """Up to `limit` roles by id, after `after`."""
        await admit(self._guard, self._freshness, wanted, principal, "roles.list")
        with self._store.view() as state:
            return _page(state.roles, after, limit)

    async def tenant(self, principal: str, tenant_id: str, wanted: Wanted) -> TenantView:
        """One tenant with what it has."""
        await admit(self._guard, self._freshness, wanted, principal, "tenants.get")
        with self._store.view() as state:
            return _with_usage(state, found("tenants", state.tenants, tenant_id))

    async def tenants(self, principal: str, after: str, limit: int, wanted: Wanted) -> list[TenantView]:
        """Up to `limit` tenants by id, after `after`, with what they have."""
        await admit(self._guard, self._freshness, wanted, principal, "tenants.list")
        with self._store.view() as state:
            return [_with_usage(state, record) for record in _page(state.tenants, after, limit)]

    async def grants(self, principal: str, after: str, limit: int, wanted: Wanted) -> list[GrantRecord]:
        """Up to `limit` grants by id, after `after`: those of the caller, or all where policy allows it."""
        await self._freshness.ensure(wanted)
        every = self._guard.allows(principal, "grants.list")
        with self._store.view() as state:
            mine = {
                grant_id: grant
                for grant_id, grant in state.grants.items()
                if every or principal in (grant.grantor, grant.grantee)
            }
        return _page(mine, after, limit)

    async def explain(self, principal: str, call: Call, wanted: Wanted) -> Explanation:
        """Which rule decides a call, and why."""
        await admit(self._guard, self._freshness, wanted, principal, "policies.explain")
        return self._guard.explain(call)


def _page(table: Mapping[str, T], after: str, limit: int) -> list[T]:
    return [table[name] for name in nsmallest(limit, (name for name in table if name > after))]


def _with_usage(state: State, record: TenantRecord) -> TenantView:
    tenant = record.tenant_id
    return TenantView(
        record,
        state.keys.counts["tenant"][tenant],
        state.versions.counts["tenant"][tenant],
        sessions_of(state, record),
    )
