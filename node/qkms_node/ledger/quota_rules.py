"""Quotas of tenants, checked before a command that would add something; exact, since all adding is here.

A key belongs to the tenant whose id stands before the first dot of its key_id,
a session to every tenant whose patterns match its initiator. A repeated
command that would add nothing is let through to its own rule, which says so.
"""

from qkms_node.ledger.access_records import TenantRecord
from qkms_node.ledger.commands import AnyCommand, CreateKey, OpenSession
from qkms_node.ledger.patterns import any_matches
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.tallies import tenant_of


def check_quota(state: State, command: AnyCommand) -> None:
    """Raises Refusal QUOTA_EXCEEDED when the command would put a tenant over its quota."""
    if not state.tenants:
        return
    if isinstance(command, OpenSession):
        if command.session_id not in state.sessions:
            for tenant in state.tenants.values():
                if belongs(tenant, command.request.principal):
                    _check(tenant, "sessions", sessions_of(state, tenant), tenant.max_sessions)
        return
    # Whatever command brings the material of a new version, by whatever name; a key may begin without.
    key_id, new = getattr(command, "key_id", ""), getattr(command, "new", None)
    adds = isinstance(command, CreateKey) or new is not None
    owner = state.tenants.get(tenant_of(key_id)) if adds else None
    if owner is None:
        return
    if key_id not in state.keys:
        _check(owner, "keys", state.keys.counts["tenant"][owner.tenant_id], owner.max_keys)
    if new is not None:
        _check(owner, "versions", state.versions.counts["tenant"][owner.tenant_id], owner.max_versions)


def belongs(tenant: TenantRecord, principal: str) -> bool:
    """Whether a principal's sessions count as the tenant's."""
    return any_matches(tenant.principals, principal)


def sessions_of(state: State, tenant: TenantRecord) -> int:
    """Open sessions whose initiator belongs to the tenant."""
    sessions = state.sessions.counts["initiator"]
    return sum(count for initiator, count in sessions.items() if belongs(tenant, initiator))


def _check(tenant: TenantRecord, what: str, used: int, limit: int) -> None:
    if limit and used >= limit:
        raise Refusal(
            "QUOTA_EXCEEDED",
            f"tenants/{tenant.tenant_id} has {used} {what} of at most {limit}; "
            "end or destroy some, or ask for a higher quota",
            tenant=tenant.tenant_id,
            quota=what,
            limit=limit,
        )
