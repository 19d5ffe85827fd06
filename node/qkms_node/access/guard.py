"""The rules in force at this node, asked before every use case, default deny.

Rules are compiled from configuration and ledger, again whenever the ledger's
access revision has changed, and kept apart by principal. A decision is as
fresh as this node's ledger: what was changed at another node counts here once
it has been replicated, and use cases that bound the staleness of a key decide
again after they have waited for it (`still`).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import structlog

from qkms_node.access.policy import Call, Decision, Explanation, Rule, Rules, decide, explain, holds
from qkms_node.access.rate import Buckets
from qkms_node.access.rules import ConfiguredRule, compiled, configured
from qkms_node.access.trail import Noted, trail
from qkms_node.errors import QkmsError
from qkms_node.ledger.patterns import any_matches
from qkms_node.ledger.state import State

log = structlog.get_logger(__name__)

MAX_PRINCIPALS = 4_096
_ALONE = State()


class Guard:
    """Asks the pure policy and refuses what it does not allow.

    `view` gives the ledger; without one the configuration's rules stand alone.
    """

    def __init__(
        self,
        rules: Sequence[ConfiguredRule],
        admins: tuple[str, ...] = (),
        view: Callable[[], AbstractContextManager[State]] = lambda: nullcontext(_ALONE),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = configured(rules)
        self._admins = admins
        self._view = view
        self._now_s = now_s
        self._buckets = Buckets()
        self._revision = -1
        self._all = Rules()
        self._concerning: OrderedDict[str, Rules] = OrderedDict()

    def require(
        self, principal: str, action: str, key_id: str = "", context: Collection[str] = (), grade: int = 0
    ) -> None:
        """Raises QkmsError unless the rules allow the action: PERMISSION_DENIED, or RATE_LIMITED for now.

        `context` is the encryption context, of which the keys count. `grade` is that of the key
        version in question; 0: that of the primary version, if there is one.
        """
        decision = self._decide(principal, action, key_id, context, grade)
        if decision.allowed and decision.limits:
            self._take(principal, action, decision.limits)

    def still(
        self, principal: str, action: str, key_id: str = "", context: Collection[str] = (), grade: int = 0
    ) -> None:
        """As `require`, for a call that was admitted before its ledger was fresh: takes no second token."""
        self._decide(principal, action, key_id, context, grade)

    def allows(self, principal: str, action: str, key_id: str = "", grade: int = 0) -> bool:
        """Whether `principal` may do `action` to `key_id`; for choosing what to show, leaves no trail."""
        rules, primary_grade, now_ms = self._look(principal, key_id)
        return decide(rules, Call(principal, action, key_id, grade=grade or primary_grade), now_ms).allowed

    def holds(self, principal: str, action: str, key_id: str, context: Collection[str]) -> bool:
        """Whether `principal` may do it by rules, not by a grant: what it may lend."""
        rules, grade, _ = self._look(principal, key_id)
        return holds(rules, Call(principal, action, key_id, frozenset(context), grade))

    def explain(self, call: Call) -> Explanation:
        """The decision on `call`, and all that was considered; takes no token, leaves no trail."""
        rules, grade, now_ms = self._look(call.principal, call.key_id)
        if not call.grade:
            call = Call(call.principal, call.action, call.key_id, call.context_keys, grade)
        return explain(rules, call, now_ms)

    def _decide(self, principal: str, action: str, key_id: str, context: Collection[str], grade: int) -> Decision:
        rules, primary_grade, now_ms = self._look(principal, key_id)
        call = Call(principal, action, key_id, frozenset(context), grade or primary_grade)
        decision = decide(rules, call, now_ms)
        known = trail.get()
        if known is not None:
            known.note(Noted(action, key_id, decision.allowed, decision.rule), call.context_keys)
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
                f"{principal} may not {action}{target}; an operator can see why with `qkms policy explain`",
                principal=principal,
                action=action,
            )
        return decision

    def _take(self, principal: str, action: str, limits: tuple[Rule, ...]) -> None:
        waits = []
        for rule in limits:
            assert rule.rate is not None
            waits.append(self._buckets.wait_s((principal, rule.name), rule.rate, self._now_s()))
            if not waits[-1]:
                return
        raise QkmsError(
            "RATE_LIMITED",
            f"{principal} has used up its rate of {action} at this node by {limits[0].name}; call less often",
            retry_after_s=min(waits),
            rule=limits[0].name,
        )

    def _look(self, principal: str, key_id: str) -> tuple[Rules, int, int]:
        """The rules that concern a principal, the grade of a key's primary version, the ledger's time."""
        with self._view() as state:
            if state.access_revision != self._revision:
                self._all = compiled(self._fixed, self._admins, state)
                self._concerning.clear()
                self._revision = state.access_revision
            key = state.keys.get(key_id) if key_id else None
            version = state.versions.get((key.key_id, key.primary)) if key else None
            now_ms = state.time_ms
        return self._of(principal), int(version.grade) if version else 0, now_ms

    def _of(self, principal: str) -> Rules:
        known = self._concerning.get(principal)
        if known is not None:
            self._concerning.move_to_end(principal)
            return known
        grants = tuple(grant for grant in self._all.grants if grant.grantee == principal)
        # A grant is decided by the rules of its grantor.
        names = (principal, *{grant.grantor for grant in grants})
        rules = tuple(r for r in self._all.rules if any(any_matches(r.principals, name) for name in names))
        known = self._concerning[principal] = Rules(rules, grants, self._admins)
        if len(self._concerning) > MAX_PRINCIPALS:
            self._concerning.popitem(last=False)
        return known
