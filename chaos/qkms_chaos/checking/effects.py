"""When effects of a history can have come: what several checkers ask. Pure."""

import math
from collections.abc import Sequence

from qkms_chaos.checking.history import Op, Outcome
from qkms_chaos.checking.key_model import number

MAKING = frozenset({"create", "rotate", "stage"})
_OF_A_VERSION = frozenset({"disable", "enable", "destroy", "abort", "activate", "validate"})


class Changes:
    """What was done to each version, or may have been."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._found: dict[tuple[str, str, int], list[Op]] = {}
        for op in ops:
            if op.call in _OF_A_VERSION and op.outcome is not Outcome.REFUSED:
                self._found.setdefault((op.call, op.key, number(op.args.get("version"))), []).append(op)

    def of(self, call: str, key: str, version: int) -> Sequence[Op]:
        """Calls of this name on the version that took effect or may have."""
        return self._found.get((call, key, version), ())

    def maybe_after(self, change: Op, call: str) -> bool:
        """Whether a call of this name on the same version may have come after the change."""
        version = number(change.args.get("version"))
        return any(latest(op) > change.start for op in self.of(call, change.key, version))


def latest(op: Op) -> float:
    """The last moment at which it can have taken effect: of one with an unknown outcome there is none."""
    return math.inf if op.end is None or op.outcome is Outcome.UNKNOWN else op.end


def told(op: Op) -> int:
    """The version or primary version of an answer, 0 where there is none."""
    return number(op.answer.get("primary") or op.answer.get("version"))


def acknowledged(ops: Sequence[Op]) -> list[tuple[float, str, int]]:
    """Primary versions that callers were told they made: when, of which key, which; in order of time."""
    return sorted(
        (op.end, op.key, told(op))
        for op in ops
        if op.outcome is Outcome.OK and op.end is not None and op.call in ("create", "rotate", "activate")
    )
