"""Enumerations of the protocol: states, grades, roles, levels."""

from enum import IntEnum, StrEnum
from typing import Self


class _Number(IntEnum):
    """Numbers are those of the protocol; one this client does not know is UNSPECIFIED (0)."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls(0) if value != 0 else None

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Level(_Number):
    """Consistency levels."""

    UNSPECIFIED = 0
    LINEARIZABLE = 1
    AT_LEAST = 2
    BOUNDED = 3
    STALE_OK = 4


class Grade(_Number):
    """Where a key's secrecy comes from."""

    UNSPECIFIED = 0
    PQC = 1
    QKD = 2
    QKD_PQC = 3
    IMPORTED = 4

    def __str__(self) -> str:
        return "QKD+PQC" if self is Grade.QKD_PQC else self.name

    def satisfies(self, required: "Grade") -> bool:
        """Whether this serves where `required` is asked for: QKD and PQC do not stand in for each other."""
        if required is Grade.UNSPECIFIED or self is required:
            return True
        return self is Grade.QKD_PQC and required is not Grade.IMPORTED


class Algorithm(StrEnum):
    """What a key is for: each algorithm has its own calls."""

    AES_256_GCM = "AES_256_GCM"
    """encrypt, decrypt, rewrap, generate_data_key, derive_key"""
    HMAC_SHA256 = "HMAC_SHA256"
    """mac, verify_mac"""
    HMAC_SHA512 = "HMAC_SHA512"
    ED25519 = "ED25519"
    """sign, verify, get_public_key"""
    ECDSA_P256_SHA256 = "ECDSA_P256_SHA256"
    ECDSA_P384_SHA384 = "ECDSA_P384_SHA384"
    RSA_3072_PSS_SHA256 = "RSA_3072_PSS_SHA256"
    RSA_4096_PSS_SHA256 = "RSA_4096_PSS_SHA256"
    RSA_3072_OAEP_SHA256 = "RSA_3072_OAEP_SHA256"
    """encrypt (318 bytes, 446 at 4096 bits), decrypt, get_public_key"""
    RSA_4096_OAEP_SHA256 = "RSA_4096_OAEP_SHA256"
    ML_DSA_44 = "ML_DSA_44"
    ML_DSA_65 = "ML_DSA_65"
    ML_DSA_87 = "ML_DSA_87"
    SLH_DSA_SHA2_128F = "SLH_DSA_SHA2_128F"
    """sign, verify, get_public_key; experimental: the node's library for it calls itself unaudited"""
    SLH_DSA_SHA2_192F = "SLH_DSA_SHA2_192F"
    ML_KEM_768 = "ML_KEM_768"
    """encapsulate, decapsulate, get_public_key"""
    ML_KEM_1024 = "ML_KEM_1024"
    X25519MLKEM768 = "X25519MLKEM768"


class PublicKeyFormat(_Number):
    """How a public key is written."""

    UNSPECIFIED = 0
    SPKI_DER = 1
    RAW_CONCATENATION = 2


class VersionState(_Number):
    """NIST SP 800-57 Part 1 Rev. 5, section 7, and DESTROY_SCHEDULED."""

    UNSPECIFIED = 0
    PRE_ACTIVATION = 1
    ACTIVE = 2
    DEACTIVATED = 3
    SUSPENDED = 4
    COMPROMISED = 5
    DESTROY_SCHEDULED = 6
    DESTROYED = 7


class KeyState(_Number):
    """States of a key; of a deleted one, the name and its tombstone are left."""

    UNSPECIFIED = 0
    ENABLED = 1
    DISABLED = 2
    DELETED = 3


class EventType(_Number):
    """Kinds of events of a watch."""

    UNSPECIFIED = 0
    KEY_CREATED = 1
    KEY_ROTATED = 2
    VERSION_STATE_CHANGED = 3
    ROOT_ACTIVATED = 4
    KEY_UPDATED = 5
    KEY_DELETED = 6
    MEMBER_CHANGED = 20
    LINK_ALARM_RAISED = 30
    LINK_ALARM_CLEARED = 31
    QKD_FELL_BACK = 32
    QKD_RESUMED = 33
    ROOT_REFUSED = 34
    ROOT_RELAYED = 35
    ROOT_QBER_RAISED = 36


class SessionState(_Number):
    """States of a session."""

    UNSPECIFIED = 0
    OFFERED = 1
    ANSWERED = 2
    CONFIRMED = 3
    CLOSED = 4
    EXPIRED = 5


class Role(_Number):
    """A node's role in the consensus."""

    UNSPECIFIED = 0
    FOLLOWER = 1
    CANDIDATE = 2
    LEADER = 3


class MemberRole(_Number):
    """What a member is: a learner gets everything and counts for no quorum."""

    UNSPECIFIED = 0
    LEARNER = 1
    VOTER = 2


class EpochState(_Number):
    """States of a root epoch."""

    UNSPECIFIED = 0
    STAGED = 1
    ACTIVE = 2
    RETIRED = 3
    ABORTED = 4
    DESTROYED = 5


class LinkState(_Number):
    """States of a quantum link."""

    UNSPECIFIED = 0
    UP = 1
    DOWN = 2
    KME_UNREACHABLE = 3


class AlarmSeverity(_Number):
    """Perceived severity of ITU-T X.733, with the numbers of RFC 8632."""

    UNSPECIFIED = 0
    CLEARED = 1
    INDETERMINATE = 2
    WARNING = 3
    MINOR = 4
    MAJOR = 5
    CRITICAL = 6


class LinkAlarmKind(_Number):
    """What an alarm of a link is about."""

    UNSPECIFIED = 0
    KME_UNREACHABLE = 1
    LINK_DOWN = 2
    QBER_HIGH = 3
    QBER_RISE = 4
    STORE_LOW = 5
    LINK_OVERLOADED = 6
