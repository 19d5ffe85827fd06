"""What a failed attempt means: try again or not, and what is known of its effect.

Pure. The one rule that everything serves: a mutation is never called failed
while it may have been applied, nor repeated under another request_id.
"""

from enum import Enum

from qkms_client import errors as e
from qkms_client.status import NotSent


class Verdict(Enum):
    """What one failed attempt says."""

    REFUSED = "refused"
    """A definite no. It is the call's result."""
    NOT_APPLIED = "not applied"
    """No effect; another attempt, perhaps at another node, may succeed."""
    UNKNOWN = "unknown"
    """A mutation may have taken effect; only a repetition with its request_id can tell."""


# Retryable, and certainly without effect: raised before anything was proposed.
_NOT_APPLIED: tuple[type[e.QkmsError], ...] = (
    NotSent,
    e.NoQuorum,
    e.NotCommitted,
    e.NotFounded,
    e.RootNotReady,
    e.Sealed,
    e.TooStale,
    e.RevisionNotReached,
    e.Overloaded,
    e.BatchFull,
    e.RateLimited,
    e.AuditUnavailable,
)

# Refusals that do not come from the ledger, where a request_id is looked up before anything
# else. They say nothing of an earlier attempt of the same call.
_BLIND: tuple[type[e.QkmsError], ...] = (e.PermissionDenied, e.InternalError, e.AuditKeyUnknown)


def verdict(error: e.QkmsError) -> Verdict:
    """The meaning of one attempt's error."""
    if isinstance(error, _NOT_APPLIED):
        return Verdict.NOT_APPLIED
    if isinstance(error, e.Retryable):
        return Verdict.UNKNOWN
    return Verdict.REFUSED


def settles(error: e.QkmsError) -> bool:
    """Whether a refusal also settles an earlier attempt whose outcome was unknown.

    The ledger answers a repeated request from memory before it looks at any
    precondition: had the earlier attempt taken effect, this would be no refusal.
    """
    return not isinstance(error, _BLIND) and type(error) is not e.QkmsError


def ended_unknown(request_id: str, method: str, last: e.QkmsError) -> e.OutcomeUnknown:
    """The error of a mutation that ended with an unknown outcome."""
    error = e.OutcomeUnknown(
        f"{method} may or may not have taken effect; the last attempt ended with {last}. "
        f"Repeat it with request_id {request_id}",
        metadata={**last.metadata, "request_id": request_id},
        retry_after=last.retry_after,
    )
    error.request_id = request_id
    error.endpoint = last.endpoint
    return error
