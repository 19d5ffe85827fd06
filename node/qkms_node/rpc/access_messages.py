"""Records of access as protocol messages; nothing is decided here."""

from qkms.v1 import policy_pb2 as pb
from qkms_node.access.policy import Explanation
from qkms_node.ledger.access_records import GrantRecord, PolicyRecord, RoleRecord, RuleRecord, TenantRecord
from qkms_node.rpc.messages import timestamp
from qkms_node.service.access import TenantView


def policy(record: PolicyRecord) -> pb.Policy:
    """A policy."""
    return pb.Policy(
        name=f"policies/{record.policy_id}",
        description=record.description,
        rules=map(_rule, record.rules),
        create_time=timestamp(record.create_ms),
        update_time=timestamp(record.update_ms),
        etag=f'"{record.revision}"',
        revision=record.revision,
    )


def role(record: RoleRecord) -> pb.AccessRole:
    """A role."""
    return pb.AccessRole(
        name=f"roles/{record.role_id}",
        description=record.description,
        principals=record.principals,
        policies=[f"policies/{each}" for each in record.policies],
        create_time=timestamp(record.create_ms),
        update_time=timestamp(record.update_ms),
        etag=f'"{record.revision}"',
        revision=record.revision,
    )


def tenant(view: TenantView) -> pb.Tenant:
    """A tenant with what it has."""
    message = quotas(view.record)
    message.keys, message.versions, message.sessions = view.keys, view.versions, view.sessions
    return message


def quotas(record: TenantRecord) -> pb.Tenant:
    """A tenant without what it has: the answer to a mutation, the same when it is repeated."""
    return pb.Tenant(
        name=f"tenants/{record.tenant_id}",
        description=record.description,
        principals=record.principals,
        max_keys=record.max_keys,
        max_versions=record.max_versions,
        max_sessions=record.max_sessions,
        create_time=timestamp(record.create_ms),
        update_time=timestamp(record.update_ms),
        etag=f'"{record.revision}"',
        revision=record.revision,
    )


def grant(record: GrantRecord) -> pb.Grant:
    """A grant."""
    return pb.Grant(
        name=f"grants/{record.grant_id}",
        grantor=record.grantor,
        grantee=record.grantee,
        actions=record.actions,
        keys=[f"keys/{each}" for each in record.keys],
        context_keys=record.context_keys,
        create_time=timestamp(record.create_ms),
        expire_time=timestamp(record.expire_ms),
        revision=record.revision,
    )


def explanation(found: Explanation) -> pb.ExplainPolicyResponse:
    """A decision and why, without its header."""
    return pb.ExplainPolicyResponse(
        allowed=found.decision.allowed,
        rule=found.decision.rule,
        reason=found.decision.reason.value,
        rate_limited_by=[rule.name for rule in found.decision.limits],
        considered=[
            pb.ConsideredRule(
                rule=each.rule,
                effect=pb.ALLOW if each.allow else pb.DENY,
                matches=not each.mismatch,
                mismatch=each.mismatch,
            )
            for each in found.considered
        ],
    )


def _rule(record: RuleRecord) -> pb.Rule:
    message = pb.Rule(
        effect=pb.ALLOW if record.effect == "allow" else pb.DENY,
        actions=record.actions,
        keys=record.keys,
        context_keys=record.context_keys,
        grades=record.grades,  # type: ignore[arg-type]
    )
    if record.per_minute:
        message.rate_limit.per_minute = record.per_minute
        message.rate_limit.burst = record.burst
    return message
