"""What only a client can meet."""

from qkms_client.errors.base import QkmsError


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


class ExportInvalid(QkmsError):
    """A folder is not an export of the audit, or not a whole one."""

    default_reason = "EXPORT_INVALID"
    advice = "give the folder that `qkms audit export` wrote"


class PrivateKeyInvalid(QkmsError):
    """A file is no private key that can be read, or its passphrase is missing or another one. Nothing was sent."""

    default_reason = "PRIVATE_KEY_INVALID"
    advice = "give a private key in PEM or DER, and its passphrase if it is encrypted"
