"""What clients and operators did to key versions, and which promises that breaks. Pure.

Times are seconds of one monotonic clock, of the process that recorded them. An
effect may come at any moment between begin and end of its call: only what
cannot be otherwise counts as a breach.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a use ended. `WRONG`: a plaintext that is not the one that was encrypted."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    WRONG = "wrong"


class Did(StrEnum):
    """What was done to a version."""

    ACTIVATE = "activate"
    STAGE = "stage"
    REVOKE = "revoke"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Use:
    """An encrypt or decrypt under a version. `reason`: the stable code of a refusal."""

    key: str
    version: int
    kind: str
    begin: float
    end: float
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Change:
    """A change of a version, acknowledged at `end`."""

    key: str
    version: int
    did: Did
    begin: float
    end: float


def breaches(uses: Iterable[Use], changes: Iterable[Change], max_staleness_s: float) -> list[str]:
    """What must not have happened, in words.

    No decrypt fails under a version that nobody revoked or destroyed; no version is used
    before its activation began; none begins to be used once `max_staleness_s` have passed
    since its revocation or destruction was acknowledged.
    """
    activated: dict[tuple[str, int], float] = {}
    ended: dict[tuple[str, int], tuple[float, float]] = {}
    for change in changes:
        at = change.key, change.version
        if change.did is Did.ACTIVATE:
            activated[at] = min(change.begin, activated.get(at, change.begin))
        elif change.did in (Did.REVOKE, Did.DESTROY):
            ended[at] = min((change.begin, change.end), ended.get(at, (change.begin, change.end)))
    found = []
    for use in uses:
        at = use.key, use.version
        name = f"{use.kind} under keys/{use.key}/versions/{use.version}"
        if use.outcome is Outcome.WRONG:
            found.append(f"{name} gave another plaintext")
        elif use.outcome is Outcome.OK:
            if at not in activated or use.end < activated[at]:
                found.append(f"{name}, which was not active yet")
            if at in ended and use.begin > ended[at][1] + max_staleness_s:
                late = use.begin - ended[at][1]
                found.append(f"{name} {late:.3f} s after it was revoked, bound {max_staleness_s:g} s")
        elif use.kind == "decrypt" and (at not in ended or use.end < ended[at][0]):
            found.append(f"{name} failed: {use.outcome} {use.reason}")
    return found


def last_use_s(uses: Iterable[Use], revoked: Change) -> float:
    """Seconds from the acknowledged revocation to the start of the last use; negative: before it."""
    begun = [
        u.begin for u in uses if (u.key, u.version) == (revoked.key, revoked.version) and u.outcome is Outcome.OK
    ]
    return max(begun) - revoked.end
