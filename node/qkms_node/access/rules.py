"""From the configuration and the ledger to the rules that a decision is taken over.

The configuration's rules are a fixed layer: no command changes them. They and
the ledger's stand side by side, a deny of either wins. Names say where a rule
stands: `configuration/rules/0`, `roles/{r}/policies/{p}/rules/0`, `grants/{id}`.
"""

from collections.abc import Sequence
from typing import Protocol

from qkms_node.access.policy import Grant, Rate, Rule, Rules
from qkms_node.ledger.access_records import GrantRecord, PolicyRecord, RoleRecord, RuleRecord
from qkms_node.ledger.state import State


class ConfiguredRule(Protocol):
    """What a rule of the configuration offers."""

    @property
    def principals(self) -> tuple[str, ...]: ...
    @property
    def actions(self) -> tuple[str, ...]: ...
    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def effect(self) -> str: ...


def configured(rules: Sequence[ConfiguredRule]) -> tuple[Rule, ...]:
    """The rules of the configuration."""
    return tuple(
        Rule(f"configuration/rules/{number}", r.principals, r.actions, r.keys, allow=r.effect == "allow")
        for number, r in enumerate(rules)
    )


def compiled(fixed: tuple[Rule, ...], admins: tuple[str, ...], state: State) -> Rules:
    """All rules in force by this state of the ledger."""
    given = tuple(
        _rule(role, state.policies[policy_id], number, record)
        for role in state.roles.values()
        for policy_id in role.policies
        for number, record in enumerate(state.policies[policy_id].rules)
    )
    return Rules(fixed + given, tuple(map(_grant, state.grants.values())), admins)


def _rule(role: RoleRecord, policy: PolicyRecord, number: int, record: RuleRecord) -> Rule:
    return Rule(
        f"roles/{role.role_id}/policies/{policy.policy_id}/rules/{number}",
        role.principals,
        record.actions,
        record.keys,
        allow=record.effect == "allow",
        context_keys=record.context_keys,
        grades=record.grades,
        rate=Rate(record.per_minute, record.burst) if record.per_minute else None,
    )


def _grant(record: GrantRecord) -> Grant:
    return Grant(
        f"grants/{record.grant_id}",
        record.grantor,
        record.grantee,
        record.actions,
        record.keys,
        record.expire_ms,
        record.context_keys,
    )
