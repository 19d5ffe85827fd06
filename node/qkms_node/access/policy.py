"""May this principal do this to that: a pure decision over rules, default deny.

A deny that matches wins over every allow, so adding a deny never widens
access. Patterns know one wildcard, `*`, for any run of characters.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol


class Rule(Protocol):
    """What a rule offers; the configuration's section fits."""

    @property
    def principals(self) -> tuple[str, ...]: ...
    @property
    def actions(self) -> tuple[str, ...]: ...
    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def effect(self) -> str: ...


@dataclass(frozen=True)
class Decision:
    """The answer, and the position of the rule that decided (None: no rule matched)."""

    allowed: bool
    rule: int | None


def decide(rules: Sequence[Rule], principal: str, action: str, key_id: str = "") -> Decision:
    """Whether `principal` may do `action`; `key_id` is empty where no key is concerned."""
    allowed_by: int | None = None
    for position, rule in enumerate(rules):
        if not _matches(rule, principal, action, key_id):
            continue
        if rule.effect == "deny":
            return Decision(False, position)
        if allowed_by is None:
            allowed_by = position
    return Decision(allowed_by is not None, allowed_by)


def _matches(rule: Rule, principal: str, action: str, key_id: str) -> bool:
    return (
        _any(rule.principals, principal) and _any(rule.actions, action) and (not key_id or _any(rule.keys, key_id))
    )


def _any(patterns: Sequence[str], value: str) -> bool:
    return any(_compiled(pattern).fullmatch(value) for pattern in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
