"""May this principal do this to that: a pure decision over rules, default deny.

A rule matches a call when its principals, actions, keys and conditions do. The
answer, in this order:

1. an admin may always do what manages access: nobody locks everybody out;
2. a deny that matches wins: adding one never widens access;
3. an allow that matches allows: adding one never narrows it. Where every such
   allow has a rate limit, one of them must have a token left;
4. a grant allows what its grantor may do by rules at this moment, and no more;
5. no.

Conditions (context keys, grades, a rate limit) stand on allows only. What is
not known does not satisfy them: an action without a context has no context
keys. The order of rules is irrelevant: of several that match, the one whose
name sorts first is named. Leaves out where rules come from (`rules`) and the
counting of tokens (`rate`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from qkms_node.ledger.patterns import any_matches

N = TypeVar("N", "Rule", "Grant")

MANAGES_ACCESS = ("policies.*", "roles.*", "tenants.*", "grants.*")
"""What an admin may always do."""


@dataclass(frozen=True)
class Rate:
    """A token bucket: `burst` tokens at most, `per_minute` new ones each minute."""

    per_minute: int
    burst: int


@dataclass(frozen=True)
class Rule:
    """One rule and where it stands. Patterns know `*`. `grades` are numbers of Grade; empty: any."""

    name: str
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    keys: tuple[str, ...] = ("*",)
    allow: bool = True
    context_keys: tuple[str, ...] = ()
    grades: tuple[int, ...] = ()
    rate: Rate | None = None


@dataclass(frozen=True)
class Grant:
    """What `grantor` lends to `grantee`, up to and without `expire_ms`; exact actions and key_ids."""

    name: str
    grantor: str
    grantee: str
    actions: tuple[str, ...]
    keys: tuple[str, ...]
    expire_ms: int
    context_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """All that a decision is taken over."""

    rules: tuple[Rule, ...] = ()
    grants: tuple[Grant, ...] = ()
    admins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """What is asked. `key_id` empty: no key is concerned. `grade` 0: not known."""

    principal: str
    action: str
    key_id: str = ""
    context_keys: frozenset[str] = frozenset()
    grade: int = 0


class Reason(Enum):
    """Why a decision is what it is."""

    ADMIN = "admins of the configuration may always manage access"
    DENIED = "a rule denies it, and deny wins"
    ALLOWED = "a rule allows it"
    GRANTED = "a grant allows it, and its grantor may do it"
    NO_RULE = "no rule allows it"


@dataclass(frozen=True)
class Decision:
    """The answer, and the name of the rule or grant that decided; empty: none.

    `limits`, not empty: the call must take a token from one of these rules.
    """

    allowed: bool
    reason: Reason
    rule: str = ""
    limits: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Considered:
    """A rule or grant that names the principal; `mismatch` says why it does not match, empty: it does."""

    rule: str
    allow: bool
    mismatch: str


@dataclass(frozen=True)
class Explanation:
    """A decision and all that was considered for it, by name."""

    decision: Decision
    considered: tuple[Considered, ...] = field(default=())


def decide(rules: Rules, call: Call, now_ms: int = 0) -> Decision:
    """The decision on `call` at the ledger's time `now_ms`."""
    decision = _by_rules(rules, call)
    if decision.reason is not Reason.NO_RULE:
        return decision
    for grant in _by_name(rules.grants):
        if grant_mismatch(rules, grant, call, now_ms):
            continue
        lent = _by_rules(rules, _as_grantor(call, grant))
        return Decision(True, Reason.GRANTED, grant.name, lent.limits)
    return decision


def holds(rules: Rules, call: Call) -> bool:
    """Whether the principal may do it by rules alone: what it may lend to others."""
    return _by_rules(rules, call).reason is Reason.ALLOWED


def explain(rules: Rules, call: Call, now_ms: int = 0) -> Explanation:
    """The decision, with every rule and grant that names the principal and why it matches or not."""
    considered = [
        Considered(rule.name, rule.allow, rule_mismatch(rule, call))
        for rule in _by_name(rules.rules)
        if any_matches(rule.principals, call.principal)
    ]
    considered += [
        Considered(grant.name, True, grant_mismatch(rules, grant, call, now_ms))
        for grant in _by_name(rules.grants)
        if grant.grantee == call.principal
    ]
    return Explanation(decide(rules, call, now_ms), tuple(considered))


def rule_mismatch(rule: Rule, call: Call) -> str:
    """Why a rule does not match a call; empty: it does."""
    if not any_matches(rule.principals, call.principal):
        return f"is for {', '.join(rule.principals)}"
    if not any_matches(rule.actions, call.action):
        return f"is about {', '.join(rule.actions)}"
    if call.key_id:
        if not any_matches(rule.keys, call.key_id):
            return f"is for keys {', '.join(rule.keys)}"
    elif not rule.allow and "*" not in rule.keys:
        # A deny on some keys does not forbid what concerns none, such as listing the others.
        return f"denies only on keys {', '.join(rule.keys)}"
    return _condition_unmet(rule, call)


def grant_mismatch(rules: Rules, grant: Grant, call: Call, now_ms: int) -> str:
    """Why a grant does not allow a call; empty: it does. A grant never widens what its grantor may do."""
    if grant.grantee != call.principal:
        return f"is for {grant.grantee}"
    if call.action not in grant.actions:
        return f"is about {', '.join(grant.actions)}"
    if call.key_id not in grant.keys:
        return f"is for keys {', '.join(grant.keys)}"
    if grant.expire_ms <= now_ms:
        return "has expired"
    missing = _missing(grant.context_keys, call)
    if missing:
        return missing
    if not holds(rules, _as_grantor(call, grant)):
        return f"its grantor {grant.grantor} may not do it itself"
    return ""


def _by_rules(rules: Rules, call: Call) -> Decision:
    if any_matches(rules.admins, call.principal) and any_matches(MANAGES_ACCESS, call.action):
        return Decision(True, Reason.ADMIN, "configuration/admin")
    matching = _by_name(rule for rule in rules.rules if not rule_mismatch(rule, call))
    for rule in matching:
        if not rule.allow:
            return Decision(False, Reason.DENIED, rule.name)
    for rule in matching:
        if rule.rate is None:
            return Decision(True, Reason.ALLOWED, rule.name)
    if matching:
        return Decision(True, Reason.ALLOWED, matching[0].name, tuple(matching))
    return Decision(False, Reason.NO_RULE)


def _as_grantor(call: Call, grant: Grant) -> Call:
    return Call(grant.grantor, call.action, call.key_id, call.context_keys, call.grade)


def _condition_unmet(rule: Rule, call: Call) -> str:
    missing = _missing(rule.context_keys, call)
    if missing:
        return missing
    if rule.grades and call.grade not in rule.grades:
        known = f"is {call.grade}" if call.grade else "is not known"
        return f"needs a grade of {', '.join(map(str, rule.grades))}; the grade {known}"
    return ""


def _missing(wanted: tuple[str, ...], call: Call) -> str:
    missing = sorted(set(wanted) - call.context_keys)
    return f"needs {', '.join(missing)} in the encryption context" if missing else ""


def _by_name(named: Iterable[N]) -> list[N]:
    return sorted(named, key=lambda each: each.name)
