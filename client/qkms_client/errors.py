"""Every way a call can end without its result: one class per reason code.

The codes are those of ErrorInfo.reason on the wire, plus the few that only a
client can meet (no node reachable, deadline over, profile unreadable, session
not established). Pure; `status` turns gRPC statuses into these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldViolation:
    """A request field at fault, and what is wrong with it."""

    field: str
    description: str


class QkmsError(Exception):
    """The family. `reason` is the stable code, `message` says what happened to what.

    `retry_after` is in seconds, where the server named a time after which a retry helps.
    `request_id` is set for mutations: repeat with the same one, never with a new one,
    to be sure that the effect happens once. `endpoint` is the node that answered last.
    """

    default_reason: ClassVar[str] = "UNKNOWN"
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        fields: tuple[FieldViolation, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.fields = fields
        self.request_id: str | None = None
        self.endpoint: str | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def _number(self, name: str) -> int | None:
        value = self.metadata.get(name, "")
        return int(value) if value.isdecimal() else None


class InvalidField(QkmsError):
    """A field that the server does not accept; `fields` names it."""

    default_reason = "INVALID_FIELD"
    advice = "correct the field that is named and call again"


class RequestIdReused(QkmsError):
    """The request_id was used before, for another request."""

    default_reason = "REQUEST_ID_REUSED"
    advice = "repeat the request exactly as it was first sent, or use a new request_id for a new one"


class CiphertextMalformed(QkmsError):
    """Not a ciphertext of this service: truncated, or of an unknown format."""

    default_reason = "CIPHERTEXT_MALFORMED"
    advice = "pass the ciphertext as encrypt gave it, complete and without another encoding"


class CiphertextRejected(QkmsError):
    """Altered, of another key, or with another context or authenticated data; not told apart on purpose."""

    default_reason = "CIPHERTEXT_REJECTED"
    advice = "decrypt with the key, context and authenticated data it was encrypted with"


class PlaintextTooLarge(QkmsError):
    """Over the limit of Encrypt; `limit` is in bytes."""

    default_reason = "PLAINTEXT_TOO_LARGE"
    advice = "encrypt large data locally under a data key (generate_data_key)"

    @property
    def limit(self) -> int | None:
        """The largest plaintext in bytes."""
        return self._number("limit")


class KeyNotFound(QkmsError):
    """There is no such key, or the caller may not know of it."""

    default_reason = "KEY_NOT_FOUND"
    advice = "check the name, or create the key"


class VersionNotFound(QkmsError):
    """The key has no such version."""

    default_reason = "VERSION_NOT_FOUND"
    advice = "list the versions of the key"


class SessionNotFound(QkmsError):
    """No such session for this caller; it may have expired."""

    default_reason = "SESSION_NOT_FOUND"
    advice = "check the session id with the peer, or open a new session"


class KeyExists(QkmsError):
    """The key exists already."""

    default_reason = "KEY_EXISTS"
    advice = "use the existing key, or choose another key id"


class SessionExists(QkmsError):
    """The session id is taken by another offer."""

    default_reason = "SESSION_EXISTS"
    advice = "open the session with a new session id"


class Conflict(QkmsError):
    """The state is not the one the caller expected; nothing changed."""

    @property
    def expected(self) -> int | None:
        """What the caller expected."""
        return self._number("expected")

    @property
    def actual(self) -> int | None:
        """What is there."""
        return self._number("actual")


class VersionConflict(Conflict):
    """Another primary version than expected: somebody rotated in between."""

    default_reason = "VERSION_CONFLICT"
    advice = "read the key again and decide whether it still needs a rotation"


class EpochConflict(Conflict):
    """Another root epoch than expected is active."""

    default_reason = "EPOCH_CONFLICT"
    advice = "read the status again and decide whether the root still needs a rotation"


class RotationPending(QkmsError):
    """Another rotation is in progress."""

    default_reason = "ROTATION_PENDING"
    advice = "wait until the rotation in progress has ended"


class IllegalTransition(QkmsError):
    """The version cannot go from its state to the one asked for."""

    default_reason = "ILLEGAL_TRANSITION"
    advice = "list the versions to see the state this one is in"


class VersionDisabled(QkmsError):
    """The version is suspended and is not used."""

    default_reason = "VERSION_DISABLED"
    advice = "enable the version if it is to be used"


class VersionDestroyed(QkmsError):
    """The version is destroyed, or scheduled to be."""

    default_reason = "VERSION_DESTROYED"
    advice = "restore the version if its grace period is not over; otherwise the data is gone"


class VersionIsPrimary(QkmsError):
    """The primary version of a key cannot be destroyed."""

    default_reason = "VERSION_IS_PRIMARY"
    advice = "rotate the key first"


class GradeTooLow(QkmsError):
    """The active root epoch has a lower grade than required."""

    default_reason = "GRADE_TOO_LOW"
    advice = "wait for a root epoch seeded by quantum links, or require less"


class SessionStateConflict(QkmsError):
    """The session is not in a state that allows the step."""

    default_reason = "SESSION_STATE"
    advice = "open a new session"


class PermissionDenied(QkmsError):
    """The caller's principal may not do this."""

    default_reason = "PERMISSION_DENIED"
    advice = "ask the operator for an access rule with this principal and action"


class Retryable(QkmsError):
    """The cluster could not serve the call now; repeating it may help."""


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


class HistoryCompacted(QkmsError):
    """Events after the resume token are no longer kept."""

    default_reason = "HISTORY_COMPACTED"
    advice = "list the keys, then watch again without a resume token"

    @property
    def oldest_revision(self) -> int | None:
        """The oldest revision still kept."""
        return self._number("oldest_revision")


class InternalError(QkmsError):
    """The node failed inside. A mutation may have taken effect: repeat it with its request_id."""

    default_reason = "INTERNAL"
    advice = "give the incident number to the operator of the node"


class Unavailable(Retryable):
    """No answer from the node: not reachable, or the connection broke."""

    default_reason = "UNAVAILABLE"
    advice = "check the endpoints, the certificates and that the nodes run"


class Overloaded(Retryable):
    """The node refused the call at its door: too many at once."""

    default_reason = "RESOURCE_EXHAUSTED"
    advice = "call less often, or spread the calls over more nodes"


class DeadlineExceeded(Retryable):
    """No answer in time."""

    default_reason = "DEADLINE_EXCEEDED"
    advice = "allow more time, or check the nodes"


class ProfileInvalid(QkmsError):
    """The profile cannot be used; the message names the field or file."""

    default_reason = "PROFILE_INVALID"
    advice = "correct the profile"


class SessionNotEstablished(QkmsError):
    """The peer did not do its part in time; repeat with the same PendingSession to go on waiting."""

    default_reason = "SESSION_NOT_ESTABLISHED"
    advice = "check that the peer joins with this session id, and allow more time"


class SessionRejected(QkmsError):
    """What came back is not the session asked for, or the peer holds another key. Never use it."""

    default_reason = "SESSION_REJECTED"
    advice = "open a new session; if it happens again, somebody between the two ends alters messages"


class AnswerNotUnderstood(QkmsError):
    """The server's answer lacks what the protocol promises."""

    default_reason = "ANSWER_NOT_UNDERSTOOD"
    advice = "use a client and a server of compatible versions"


class ClientClosed(QkmsError):
    """The client was closed."""

    default_reason = "CLIENT_CLOSED"
    advice = "make a new client"


def _classes(base: type[QkmsError]) -> list[type[QkmsError]]:
    return [c for child in base.__subclasses__() for c in (child, *_classes(child))]


BY_REASON: Mapping[str, type[QkmsError]] = {
    c.default_reason: c for c in _classes(QkmsError) if c.default_reason != QkmsError.default_reason
}
"""The class of each reason code."""
