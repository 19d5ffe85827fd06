"""Messages of PolicyService and AuditService as the records of `access_types`. Nothing is decided here."""

from collections.abc import Iterable

from qkms.v1 import audit_pb2, policy_pb2
from qkms_client import access_types as t
from qkms_client.decode import header as head_of
from qkms_client.decode import time as time
from qkms_client.enums import Grade
from qkms_client.types import Header


def policy(message: policy_pb2.Policy, head: Header, replayed: bool = False) -> t.Policy:
    """A policy."""
    return t.Policy(
        name=message.name,
        description=message.description,
        rules=tuple(map(_rule, message.rules)),
        create_time=time(message.create_time),
        update_time=time(message.update_time),
        etag=message.etag,
        revision=message.revision,
        replayed=replayed,
        header=head,
    )


def role(message: policy_pb2.AccessRole, head: Header, replayed: bool = False) -> t.AccessRole:
    """A role."""
    return t.AccessRole(
        name=message.name,
        description=message.description,
        principals=tuple(message.principals),
        policies=tuple(message.policies),
        create_time=time(message.create_time),
        update_time=time(message.update_time),
        etag=message.etag,
        revision=message.revision,
        replayed=replayed,
        header=head,
    )


def tenant(message: policy_pb2.Tenant, head: Header, replayed: bool = False) -> t.Tenant:
    """A tenant."""
    return t.Tenant(
        name=message.name,
        description=message.description,
        principals=tuple(message.principals),
        max_keys=message.max_keys,
        max_versions=message.max_versions,
        max_sessions=message.max_sessions,
        keys=message.keys,
        versions=message.versions,
        sessions=message.sessions,
        create_time=time(message.create_time),
        update_time=time(message.update_time),
        etag=message.etag,
        revision=message.revision,
        replayed=replayed,
        header=head,
    )


def grant(message: policy_pb2.Grant, head: Header, replayed: bool = False) -> t.Grant:
    """A grant."""
    return t.Grant(
        name=message.name,
        grantor=message.grantor,
        grantee=message.grantee,
        actions=tuple(message.actions),
        keys=tuple(message.keys),
        context_keys=tuple(message.context_keys),
        create_time=time(message.create_time),
        expire_time=time(message.expire_time),
        revision=message.revision,
        replayed=replayed,
        header=head,
    )


def explanation(message: policy_pb2.ExplainPolicyResponse) -> t.Explanation:
    """Why a call is allowed or not."""
    return t.Explanation(
        allowed=message.allowed,
        rule=message.rule,
        reason=message.reason,
        rate_limited_by=tuple(message.rate_limited_by),
        considered=tuple(
            t.ConsideredRule(each.rule, each.effect == policy_pb2.ALLOW, each.matches, each.mismatch)
            for each in message.considered
        ),
        header=head_of(message.header),
    )


def rules_out(rules: Iterable[t.Rule]) -> list[policy_pb2.Rule]:
    """Rules as they are sent."""
    return [
        policy_pb2.Rule(
            effect=policy_pb2.ALLOW if rule.allow else policy_pb2.DENY,
            actions=rule.actions,
            keys=rule.keys,
            context_keys=rule.context_keys,
            grades=[int(grade) for grade in rule.grades],  # type: ignore[misc]
            rate_limit=policy_pb2.RateLimit(per_minute=rule.rate_limit.per_minute, burst=rule.rate_limit.burst)
            if rule.rate_limit
            else None,
        )
        for rule in rules
    ]


def audit_record(message: audit_pb2.AuditRecord) -> t.AuditRecord:
    """A record of the audit."""
    return t.AuditRecord(
        number=message.number,
        time=time(message.time),
        principal=message.principal,
        method=message.method,
        resource=message.resource,
        code=message.code,
        request_id=message.request_id,
        revision=message.revision,
        decisions=tuple(t.AuditDecision(d.action, d.key, d.allowed, d.rule) for d in message.decisions),
        context_keys=tuple(message.context_keys),
        line=message.line,
        damage=message.damage,
    )


def verdict(message: audit_pb2.ChainVerdict) -> t.AuditVerdict:
    """What a node found wrong with a chain of its own."""
    known = audit_pb2.AuditChain.DESCRIPTOR.values_by_number.get(message.chain)
    return t.AuditVerdict(
        chain=known.name.lower() if known is not None else f"unknown {message.chain}",
        intact=message.intact,
        records=message.records,
        anchors=message.anchors,
        broken_record=message.broken_record,
        problem=message.problem,
    )


def anchor(message: audit_pb2.Anchor) -> t.AuditAnchor:
    """A signed head."""
    return t.AuditAnchor(
        node_id=message.node_id,
        key_id=message.key_id,
        length=message.length,
        head=message.head,
        ed25519_signature=message.ed25519_signature,
        mldsa65_signature=message.mldsa65_signature,
        time=time(message.time) if message.HasField("time") else None,
        revision=message.revision,
    )


def audit_key(message: audit_pb2.AuditKey) -> t.AuditKey:
    """A public audit key."""
    return t.AuditKey(
        key_id=message.key_id,
        node_id=message.node_id,
        ed25519_public_key=message.ed25519_public_key,
        mldsa65_public_key=message.mldsa65_public_key,
        register_time=time(message.register_time),
    )


def audit_heads(message: audit_pb2.GetAuditHeadResponse) -> t.AuditHeads:
    """The ends of a node's chains."""
    return t.AuditHeads(
        node_id=message.calls.node_id,
        mutations_length=message.mutations.length,
        mutations_head=message.mutations.head,
        calls=anchor(message.calls),
        failure=message.failure,
    )


def _rule(message: policy_pb2.Rule) -> t.Rule:
    return t.Rule(
        actions=tuple(message.actions),
        keys=tuple(message.keys),
        allow=message.effect == policy_pb2.ALLOW,
        context_keys=tuple(message.context_keys),
        grades=tuple(Grade(grade) for grade in message.grades),
        rate_limit=t.RateLimit(message.rate_limit.per_minute, message.rate_limit.burst)
        if message.HasField("rate_limit")
        else None,
    )
