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


class LinkNotFound(QkmsError):
    """The node has no quantum link to that node."""

    default_reason = "LINK_NOT_FOUND"
    advice = "list the links (qkms links)"


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


class StoreExhausted(QkmsError):
    """Too few QKD keys are in store for a new root epoch, and the cluster neither waits nor does without."""

    default_reason = "STORE_EXHAUSTED"
    advice = "see how full the stores are (qkms links), and ask again when they have keys"


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
    """The primary version of a key cannot be destroyed while it is active."""

    default_reason = "VERSION_IS_PRIMARY"
    advice = "rotate the key first, or disable the version"


class VersionStaged(QkmsError):
    """The version waits for activation and is not used before."""

    default_reason = "VERSION_STAGED"
    advice = "validate and activate the version"


class VersionCompromised(QkmsError):
    """The version is compromised: it never protects again, and decrypts only where the key allows it."""

    default_reason = "VERSION_COMPROMISED"
    advice = "rotate the key and rewrap; allow_compromised_decrypt lets old data be read meanwhile"


class VersionTooOld(QkmsError):
    """The version is below the key's least version for this use."""

    default_reason = "VERSION_TOO_OLD"
    advice = "use a newer version, or lower min_decrypt_version or min_encrypt_version"


class VersionNotValidated(QkmsError):
    """The evidence for a staged version is not there yet; the metadata names who is `missing`."""

    default_reason = "VERSION_NOT_VALIDATED"
    advice = "validate the version once a quorum of nodes has caught up"


class ActivationTooEarly(QkmsError):
    """A node may still have a view from before the staging; `retry_after` says for how long, in seconds."""

    default_reason = "ACTIVATION_TOO_EARLY"
    advice = "activate after the time that is named, or rotate the key in one step"


class MinVersionTooHigh(QkmsError):
    """A least version above the primary one would leave nothing to use."""

    default_reason = "MIN_VERSION_TOO_HIGH"
    advice = "rotate the key first"


class NoPrimaryVersion(QkmsError):
    """The key has no active version yet."""

    default_reason = "NO_PRIMARY_VERSION"
    advice = "stage or import a version, validate it and activate it"


class KeyDisabled(QkmsError):
    """The key is disabled and not used."""

    default_reason = "KEY_DISABLED"
    advice = "enable the key if it is to be used"


class KeyDeleted(QkmsError):
    """The key was deleted; its name is never used again."""

    default_reason = "KEY_DELETED"
    advice = "use another key"


class KeyHasVersions(QkmsError):
    """A key is deleted only when all its versions are destroyed."""

    default_reason = "KEY_HAS_VERSIONS"
    advice = "destroy the versions and wait for their grace to end"


class DeletionProtected(QkmsError):
    """The key is protected from destruction."""

    default_reason = "DELETION_PROTECTED"
    advice = "update the key to take the protection off"


class EtagMismatch(Conflict):
    """What is to be changed was changed since its etag was read."""

    default_reason = "ETAG_MISMATCH"
    advice = "read it again and decide whether the change is still wanted"


class NotExportable(QkmsError):
    """The key was not created exportable."""

    default_reason = "NOT_EXPORTABLE"
    advice = "create an exportable key for material that must leave the cluster"


class ImportNotFound(QkmsError):
    """The wrapping key of an import was used, replaced or has expired."""

    default_reason = "IMPORT_NOT_FOUND"
    advice = "get new import parameters and wrap the material again"


class WrappingRejected(QkmsError):
    """Material that does not unwrap, or a public key that cannot be used."""

    default_reason = "WRAPPING_REJECTED"
    advice = "check the public key and the wrapping method, and wrap again for this import"


class MaterialRejected(QkmsError):
    """Material that unwraps and is not what the key needs: another algorithm or size, malformed, weak."""

    default_reason = "MATERIAL_REJECTED"
    advice = "import a sound key of the key's own algorithm; the import parameters still serve"


class AlgorithmUnsuitable(QkmsError):
    """The key's algorithm has no such operation; the metadata name algorithm, operation and operations."""

    default_reason = "ALGORITHM_UNSUITABLE"
    advice = "use a key of an algorithm for this; a key's algorithm does not change"


class GradeTooLow(QkmsError):
    """The active root epoch has a lower grade than required."""

    default_reason = "GRADE_TOO_LOW"
    advice = "wait for a root epoch seeded by quantum links, or require less"


class RelaysRefused(QkmsError):
    """The key refuses relays, and QKD keys of the root epoch have passed some."""

    default_reason = "RELAYS_REFUSED"
    advice = "wait for a root epoch whose QKD keys came over direct links, or let the key accept relays"


class QberTooHigh(QkmsError):
    """The key allows a lower QBER than that of the links which QKD keys of the root epoch came over."""

    default_reason = "QBER_TOO_HIGH"
    advice = "look at the links (qkms links), rotate the root once the QBER is lower, or let the key allow more"


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


class PolicyNotFound(QkmsError):
    """There is no such policy."""

    default_reason = "POLICY_NOT_FOUND"
    advice = "check the name, or create the policy"


class RoleNotFound(QkmsError):
    """There is no such role."""

    default_reason = "ROLE_NOT_FOUND"
    advice = "check the name, or create the role"


class TenantNotFound(QkmsError):
    """There is no such tenant."""

    default_reason = "TENANT_NOT_FOUND"
    advice = "check the name, or create the tenant"


class GrantNotFound(QkmsError):
    """There is no such grant; it may have expired."""

    default_reason = "GRANT_NOT_FOUND"
    advice = "list the grants"


class PolicyExists(QkmsError):
    """The policy exists already."""

    default_reason = "POLICY_EXISTS"
    advice = "update the existing policy, or choose another id"


class RoleExists(QkmsError):
    """The role exists already."""

    default_reason = "ROLE_EXISTS"
    advice = "update the existing role, or choose another id"


class TenantExists(QkmsError):
    """The tenant exists already."""

    default_reason = "TENANT_EXISTS"
    advice = "update the existing tenant, or choose another id"


class GrantExists(QkmsError):
    """The grant exists already."""

    default_reason = "GRANT_EXISTS"
    advice = "choose another grant id"


class PolicyInUse(QkmsError):
    """A role names the policy."""

    default_reason = "POLICY_IN_USE"
    advice = "take the policy out of the roles first"


class QuotaExceeded(QkmsError):
    """A quota is used up; the metadata say whose and which."""

    default_reason = "QUOTA_EXCEEDED"
    advice = "destroy or close what is not needed, or ask for a higher quota"


class AuditKeyUnknown(QkmsError):
    """The node's audit key cannot be opened, or is not registered."""

    default_reason = "AUDIT_KEY_UNKNOWN"
    advice = "see the node's status; restore its key file"


class AuditBroken(QkmsError):
    """A node's audit was altered, or cut off behind an anchor."""

    default_reason = "AUDIT_BROKEN"
    advice = "verify the audit of that node, and keep its files as they are"
