"""Reading the fields of PolicyService: rules, patterns, etags. Each error names the field."""

import re
from collections.abc import Sequence

from qkms.v1 import policy_pb2 as pb
from qkms_node.errors import InvalidField
from qkms_node.ledger.access_records import RuleRecord
from qkms_node.rpc import fields

MAX_RULES = 64
MAX_PATTERNS = 32
MAX_PATTERN = 256
MAX_DESCRIPTION = 512
MAX_PER_MINUTE = 6_000_000
MAX_BURST = 1_000_000
MAX_QUOTA = 10_000_000

_ACTION = re.compile(r"[a-z]+\.[a-z_]+")
_ACTION_PATTERN = re.compile(r"[a-z._*]+")


def resource(field: str, collection: str, value: str) -> str:
    """The id of `{collection}/{id}`; ids are those of keys."""
    prefix, _, identifier = value.partition("/")
    if prefix != collection:
        raise InvalidField(field, f"is {value[:80]!r}; write {collection}/{{id}}")
    return fields.key_id(field, identifier)


def tenant_id(field: str, value: str) -> str:
    """A tenant's id: as a key_id, without a dot, because a dot ends it in the key_ids it owns."""
    if "." in value:
        raise InvalidField(field, f"is {value[:80]!r}; a tenant_id has no dot, which ends it in its key_ids")
    return fields.key_id(field, value)


def etag(value: str) -> int:
    """The revision that an etag stands for; 0 for none."""
    if not value:
        return 0
    number = value.removeprefix('"').removesuffix('"')
    if not (number.isascii() and number.isdecimal()) or len(number) > 19 or value != f'"{number}"':
        raise InvalidField("etag", f"is {value[:40]!r}, not one that this service gave out")
    return int(number)


def description(value: str) -> str:
    """A description within its limit."""
    if len(value) > MAX_DESCRIPTION:
        raise InvalidField("description", f"has {len(value)} characters, the limit is {MAX_DESCRIPTION}")
    return value


def principals(value: Sequence[str], *, needed: bool = True) -> tuple[str, ...]:
    """Patterns of principals."""
    return _patterns("principals", value, needed=needed)


def principal(field: str, value: str) -> str:
    """One principal, written out."""
    if not 1 <= len(value) <= MAX_PATTERN or "*" in value:
        raise InvalidField(field, f"must be one principal, of 1 to {MAX_PATTERN} characters and without *")
    return value


def policies(value: Sequence[str]) -> tuple[str, ...]:
    """The policy_ids of a role, 1 to 32."""
    if not 1 <= len(value) <= MAX_PATTERNS:
        raise InvalidField("policies", f"has {len(value)} entries; it must be 1 to {MAX_PATTERNS}")
    return tuple(dict.fromkeys(resource("policies", "policies", each) for each in value))


def rules(value: Sequence[pb.Rule]) -> tuple[RuleRecord, ...]:
    """The rules of a policy, 1 to 64."""
    if not 1 <= len(value) <= MAX_RULES:
        raise InvalidField("rules", f"has {len(value)} entries; it must be 1 to {MAX_RULES}")
    return tuple(_rule(f"rules[{number}]", each) for number, each in enumerate(value))


def action(field: str, value: str) -> str:
    """One action, `<area>.<verb>`."""
    if not _ACTION.fullmatch(value) or len(value) > MAX_PATTERN:
        raise InvalidField(field, f"is {value[:80]!r}; an action is <area>.<verb>, without *")
    return value


def lent_actions(value: Sequence[str]) -> tuple[str, ...]:
    """Actions that a grant can lend: those on keys."""
    if not 1 <= len(value) <= MAX_PATTERNS:
        raise InvalidField("actions", f"has {len(value)} entries; it must be 1 to {MAX_PATTERNS}")
    for each in value:
        if not action("actions", each).startswith(("keys.", "crypto.")):
            raise InvalidField("actions", f"{each!r} is not an action on a key: a grant lends keys.* and crypto.*")
    return tuple(dict.fromkeys(value))


def lent_keys(value: Sequence[str]) -> tuple[str, ...]:
    """The key_ids of a grant."""
    if not 1 <= len(value) <= MAX_PATTERNS:
        raise InvalidField("keys", f"has {len(value)} entries; it must be 1 to {MAX_PATTERNS}")
    return tuple(dict.fromkeys(fields.key_name("keys", each) for each in value))


def context_keys(field: str, value: Sequence[str]) -> tuple[str, ...]:
    """Names of pairs of an encryption context."""
    if len(value) > fields.MAX_CONTEXT_PAIRS:
        raise InvalidField(field, f"has {len(value)} entries, the limit is {fields.MAX_CONTEXT_PAIRS}")
    for each in value:
        if not 1 <= len(each.encode()) <= fields.MAX_CONTEXT_BYTES:
            raise InvalidField(field, f"{each[:32]!r} is not 1 to {fields.MAX_CONTEXT_BYTES} bytes long")
    return tuple(sorted(set(value)))


def quota(field: str, value: int) -> int:
    """A quota; 0: none."""
    if value > MAX_QUOTA:
        raise InvalidField(field, f"is {value}, the limit is {MAX_QUOTA}; 0 stands for no quota")
    return value


def _rule(field: str, rule: pb.Rule) -> RuleRecord:
    if rule.effect not in (pb.ALLOW, pb.DENY):
        raise InvalidField(f"{field}.effect", "is missing or unknown; ALLOW and DENY are there")
    actions = _patterns(f"{field}.actions", rule.actions)
    for each in actions:
        if not _ACTION_PATTERN.fullmatch(each):
            raise InvalidField(f"{field}.actions", f"{each[:80]!r} is no pattern of <area>.<verb>")
    limited = rule.HasField("rate_limit")
    if rule.effect == pb.DENY and (rule.context_keys or rule.grades or limited):
        # A deny that is silent where its condition does not hold would be taken for one that holds always.
        raise InvalidField(f"{field}.effect", "is DENY, which takes no context_keys, grades or rate_limit")
    if limited and not (
        1 <= rule.rate_limit.per_minute <= MAX_PER_MINUTE and 1 <= rule.rate_limit.burst <= MAX_BURST
    ):
        raise InvalidField(
            f"{field}.rate_limit", f"needs per_minute of 1 to {MAX_PER_MINUTE} and burst of 1 to {MAX_BURST}"
        )
    return RuleRecord(
        actions=actions,
        keys=_patterns(f"{field}.keys", rule.keys, needed=False) or ("*",),
        effect="allow" if rule.effect == pb.ALLOW else "deny",
        context_keys=context_keys(f"{field}.context_keys", rule.context_keys),
        grades=tuple(sorted({_grade(f"{field}.grades", each) for each in rule.grades})),
        per_minute=rule.rate_limit.per_minute,
        burst=rule.rate_limit.burst,
    )


def _grade(field: str, value: int) -> int:
    if not value:
        raise InvalidField(field, "has GRADE_UNSPECIFIED; leave the list empty for any grade")
    return fields.grade(field, value)


def _patterns(field: str, value: Sequence[str], *, needed: bool = True) -> tuple[str, ...]:
    if not (1 if needed else 0) <= len(value) <= MAX_PATTERNS:
        raise InvalidField(field, f"has {len(value)} entries; it must be {int(needed)} to {MAX_PATTERNS}")
    for each in value:
        if not 1 <= len(each) <= MAX_PATTERN:
            raise InvalidField(field, f"{each[:40]!r} is not 1 to {MAX_PATTERN} characters long")
    return tuple(dict.fromkeys(value))
