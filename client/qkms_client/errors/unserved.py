"""What a repetition may mend: the cluster could not serve the call now."""

from qkms_client.errors.base import Retryable


class NoQuorum(Retryable):
    """No majority of nodes answers; nothing was written."""

    default_reason = "NO_QUORUM"
    advice = "restore a majority of nodes; reads can ask for bounded() or STALE_OK meanwhile"


class NotCommitted(Retryable):
    """Certainly not written."""

    default_reason = "NOT_COMMITTED"
    advice = "repeat the call"


class OutcomeUnknown(Retryable):
    """A mutation that may or may not have taken effect.

    Repeat it with this error's `request_id` and the same arguments to learn which:
    the effect happens once, however often it is repeated.
    """

    default_reason = "OUTCOME_UNKNOWN"
    advice = "repeat the call with the same request_id and the same arguments"


class RootNotReady(Retryable):
    """No root epoch is active yet, or this node has not opened it."""

    default_reason = "ROOT_NOT_READY"
    advice = "see what seeding waits for in the status of the nodes"


class TooStale(Retryable):
    """The node's state is older than the read allows."""

    default_reason = "TOO_STALE"
    advice = "restore the node's contact with the quorum"


class ShuttingDown(Retryable):
    """The node is shutting down."""

    default_reason = "SHUTTING_DOWN"
    advice = "use another node"


class RevisionNotReached(Retryable):
    """The node has not yet caught up with what this client has seen."""

    default_reason = "REVISION_NOT_REACHED"
    advice = "use another node, or wait until this one has caught up"


class Unavailable(Retryable):
    """No answer from the node: not reachable, or the connection broke."""

    default_reason = "UNAVAILABLE"
    advice = "check the endpoints, the certificates and that the nodes run"


class Overloaded(Retryable):
    """The node refused the call at its door: too many at once."""

    default_reason = "RESOURCE_EXHAUSTED"
    advice = "call less often, or spread the calls over more nodes"


class BatchFull(Retryable):
    """The answers of a batch left no room for this one."""

    default_reason = "BATCH_FULL"
    advice = "ask for it in another batch"


class DeadlineExceeded(Retryable):
    """No answer in time."""

    default_reason = "DEADLINE_EXCEEDED"
    advice = "allow more time, or check the nodes"


class RateLimited(Retryable):
    """The rule that allows the call limits its rate at this node; nothing was done."""

    default_reason = "RATE_LIMITED"
    advice = "call less often, or ask for a higher rate"


class AuditUnavailable(Retryable):
    """The node cannot write its audit and refuses calls."""

    default_reason = "AUDIT_UNAVAILABLE"
    advice = "use another node; see its status for the reason, often a full disk"
