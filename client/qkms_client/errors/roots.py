"""About seals, recovery and backups: refusals of a node, and what the caller's own shares and files can be."""

from qkms_client.errors.base import Conflict, QkmsError, Retryable


class Sealed(Retryable):
    """The node is sealed: it holds no roots and no keys."""

    default_reason = "SEALED"
    advice = "use another node, or unseal this one (qkms unseal)"


class RecoveryConflict(Conflict):
    """Another recovery set than expected is present."""

    default_reason = "RECOVERY_CONFLICT"
    advice = "look at the recovery key (qkms recovery show) and decide again"


class RestoreConflict(Conflict):
    """The node does not hold the earlier parts of this restore."""

    default_reason = "RESTORE_CONFLICT"
    advice = "begin the restore anew"


class EpochNotFound(QkmsError):
    """There is no such root epoch in use."""

    default_reason = "EPOCH_NOT_FOUND"
    advice = "look at the recovery key again: an epoch may have ended meanwhile"


class UnsealRejected(QkmsError):
    """The secret does not open the node's root store; it stays sealed."""

    default_reason = "UNSEAL_REJECTED"
    advice = "try again with the right passphrase or PIN"


class SealUnusable(QkmsError):
    """The node cannot use its seal as configured; it stays sealed."""

    default_reason = "SEAL_UNUSABLE"
    advice = "mend what the message names at the node"


class LastHolder(QkmsError):
    """No other node is seen to hold the root, and this one keeps nothing on disk."""

    default_reason = "LAST_HOLDER"
    advice = "unseal another node first, or have recovery shares at hand and use --even-if-last"


class RecoveryRejected(QkmsError):
    """A root that was handed over is not the one the ledger committed to; nothing has changed."""

    default_reason = "RECOVERY_REJECTED"
    advice = "open the recovery key again, with shares of the present set"


class BackupNotAccepted(QkmsError):
    """The node could not read the backup; nothing has changed."""

    default_reason = "BACKUP_REJECTED"
    advice = "verify the file (qkms backup verify), or take another backup"


class ClusterNotEmpty(QkmsError):
    """The cluster has keys or sessions, which a backup would replace."""

    default_reason = "CLUSTER_NOT_EMPTY"
    advice = "restore into a new cluster"


class RecoveryFailed(QkmsError):
    """Recovery shares that cannot be read, do not belong together, or are of another set. Nothing was opened."""

    default_reason = "RECOVERY_FAILED"
    advice = "check each share and the set it names; give shares of the present set (qkms recovery show)"


class BackupInvalid(QkmsError):
    """A file that is no backup, was cut or altered, or was not made for the key given. Do not use it."""

    default_reason = "BACKUP_INVALID"
    advice = "use another copy of the backup, and the key it was made for"
