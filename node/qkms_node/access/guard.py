"""The policy in force at this node, asked before every use case, default deny.

Every decision leaves one log line: who, what, to which key, allowed or not.
"""

from collections.abc import Sequence

import structlog

from qkms_node.access.policy import Rule, decide
from qkms_node.errors import QkmsError

log = structlog.get_logger(__name__)


class Guard:
    """Asks the pure policy and refuses what it does not allow."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    def allows(self, principal: str, action: str, key_id: str = "") -> bool:
        """Whether `principal` may do `action` to `key_id` (empty: no key is concerned)."""
        return decide(self._rules, principal, action, key_id).allowed

    def require(self, principal: str, action: str, key_id: str = "") -> None:
        """Raises QkmsError PERMISSION_DENIED unless the policy allows the action."""
        decision = decide(self._rules, principal, action, key_id)
        log.debug(
            "access.decision",
            principal=principal,
            action=action,
            key=key_id,
            allowed=decision.allowed,
            rule=decision.rule,
        )
        if not decision.allowed:
            target = f" on keys/{key_id}" if key_id else ""
            raise QkmsError(
                "PERMISSION_DENIED",
                f"{principal} may not {action}{target}; an operator can add a rule that allows it",
                principal=principal,
                action=action,
            )
