"""What was decided in the course of a call, for its audit record.

The trail is a context variable: the interceptor starts one, the guard adds to
it, whatever runs for the call inherits it. Outside a call there is none, and
nothing is noted.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

MAX_DECISIONS = 64
MAX_DENIED = 256


@dataclass(frozen=True)
class Noted:
    """A decision on one action; `rule` is what decided."""

    action: str
    key_id: str
    allowed: bool
    rule: str


@dataclass
class Trail:
    """Decisions and context keys of one call. Of many, the first 64 are kept, and of the denied the first 256."""

    decisions: list[Noted] = field(default_factory=list)
    context_keys: set[str] = field(default_factory=set)

    def note(self, decision: Noted, context_keys: frozenset[str]) -> None:
        """Adds a decision; one that repeats the last adds nothing."""
        self.context_keys |= context_keys
        if decision in self.decisions[-1:]:
            return
        if len(self.decisions) < (MAX_DECISIONS if decision.allowed else MAX_DENIED):
            self.decisions.append(decision)


trail: ContextVar[Trail | None] = ContextVar("trail", default=None)
"""The trail of the call in hand."""
