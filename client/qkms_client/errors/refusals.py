"""Definite answers of a node: no. The same call will meet them again."""

from qkms_client.errors.base import Conflict, QkmsError


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


class AlgorithmUnsuitable(QkmsError):
    """The key's algorithm has no such operation; the metadata name algorithm, operation and operations."""

    default_reason = "ALGORITHM_UNSUITABLE"
    advice = "use a key of an algorithm for this; a key's algorithm does not change"


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
