"""What the ledger remembers: frozen records, replaced and never changed in place.

Frozen so that a snapshot shares them with the tables: streaming it out while
commands go on being applied cannot see half a change. Times are
milliseconds since the Unix epoch, durations milliseconds, as stamped by the
leader. No record holds a secret in clear: `wrapped` is AES-256-GCM under a
key encryption key, shares are sealed to one node.
"""

from enum import IntEnum

import msgspec

from qkms_node.keys.grade import Grade

QBER_UNTOLD = 1.0
"""In place of a QBER that a KME does not tell: no link is worse."""


class VersionState(IntEnum):
    """NIST SP 800-57 Part 1 Rev. 5, section 7; DESTROY_SCHEDULED is ours."""

    PRE_ACTIVATION = 1
    ACTIVE = 2
    DEACTIVATED = 3
    SUSPENDED = 4
    COMPROMISED = 5
    DESTROY_SCHEDULED = 6
    DESTROYED = 7


class EpochState(IntEnum):
    """Life of a root epoch; STAGED leads to ACTIVE or ABORTED, ACTIVE to RETIRED, RETIRED to DESTROYED."""

    STAGED = 1
    ACTIVE = 2
    RETIRED = 3
    ABORTED = 4
    DESTROYED = 5


class SessionState(IntEnum):
    """Life of a session between two services."""

    OFFERED = 1
    ANSWERED = 2
    CONFIRMED = 3
    CLOSED = 4
    EXPIRED = 5


class EventType(IntEnum):
    """Kinds of events a watcher sees; numbers are those of the protocol."""

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


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of all records. None can refer to itself, so the cyclic garbage collector need not walk millions."""


class StagingRecord(Record, frozen=True):
    """How a version was staged, and the evidence that it is sound; kept with the version.

    `revision` is the ledger's at the staging, `voters` who took part in consensus then.
    `confirmed`: each voter that opened the material and found its check value equal, with the
    revision it had applied; `rejected`: each that could not, when the version was active already,
    and why. `activate_after_ms`: when every cache from before the staging has lapsed.
    """

    revision: int
    stage_ms: int
    activate_after_ms: int
    voters: tuple[str, ...]
    confirmed: dict[str, int] = {}
    rejected: dict[str, str] = {}
    validate_ms: int = 0


class VersionRecord(Record, frozen=True):
    """One key version. `wrapped` is empty once destroyed, and in answers.

    `compromise_ms` is set once and stays: a compromised version never protects again, whatever
    its state. `reason` says why it was aborted or called compromised.
    `public_key` is the public half of an algorithm that has one (keys.scheme). `relayed`: it was under an epoch
    that named relays when it came, or when it left; `qber` likewise: the greatest of those epochs.
    """

    version: int
    state: VersionState
    grade: Grade
    epoch: int
    wrapped: bytes
    check_value: bytes
    create_ms: int
    activate_ms: int
    destroy_ms: int = 0
    compromise_ms: int = 0
    reason: str = ""
    staging: StagingRecord | None = None
    public_key: bytes = b""
    relayed: bool = False
    qber: float = 0.0


class KeyRecord(Record, frozen=True):
    """One key; its versions are kept beside it, by number from 1 to `version_count`.

    `primary` is 0 until a first version is active, `staged` 0 unless one waits for activation.
    `next_rotation_ms` is 0 without a period. `stale_until_ms`: until when a node that was cut
    off before `max_staleness_ms` was lowered may go by the old bound. `max_qber`: of the links that QKD
    keys of its root came over, a fraction; 0: any.
    """

    key_id: str
    algorithm: str
    required_grade: int
    max_staleness_ms: int
    labels: dict[str, str]
    create_ms: int
    primary: int
    version_count: int
    revision: int
    staged: int = 0
    disabled: bool = False
    rotation_period_ms: int = 0
    next_rotation_ms: int = 0
    min_decrypt: int = 0
    min_encrypt: int = 0
    deletion_protection: bool = False
    exportable: bool = False
    allow_compromised_decrypt: bool = False
    stale_until_ms: int = 0
    delete_ms: int = 0
    prefer_qkd: bool = False
    refuse_relays: bool = False
    max_qber: float = 0.0


class WrappingRecord(Record, frozen=True):
    """A one-time key pair under which material for a key is brought in.

    `method` is a number of the protocol's WrappingMethod, `public` its public key, `sealed` the
    private key under the key encryption key of `epoch`; empty in answers.
    """

    key_id: str
    import_id: str
    method: int
    public: bytes
    epoch: int
    sealed: bytes
    create_ms: int
    expire_ms: int


class ShareRecord(Record, frozen=True):
    """The root of an epoch sealed by `leader_id` for one node (construction: keys.share).

    `relays`: the KMEs that its QKD key has passed and that have seen it in clear, sorted. `qber`: of the link that
    its QKD key came over, a fraction; QBER_UNTOLD where the KME does not tell, 0 without a QKD key.
    """

    node_id: str
    leader_id: str
    qkd_key_id: str
    mlkem_ciphertext: bytes
    x25519_public: bytes
    sealed: bytes
    relays: tuple[str, ...] = ()
    qber: float = 0.0


class RootRecord(Record, frozen=True):
    """One root epoch: ids, ciphertext and commitment, never the root itself.

    `recovery_sealed` is the root sealed to the recovery key of set `recovery_set`; both empty: to none.
    `fallback`: why it does without QKD though that is preferred; empty: it does not fall back.
    `relays`: the KMEs that have seen a QKD key in clear which sealed a share of it, ever; sorted.
    `qber`: the greatest of the links that those QKD keys came over, as in ShareRecord.
    """

    epoch: int
    base_epoch: int
    state: EpochState
    grade: Grade
    leader_id: str
    commitment: bytes
    qkd_key_ids: tuple[str, ...]
    voters: tuple[str, ...]
    shares: dict[str, ShareRecord]
    stage_ms: int
    confirmed: tuple[str, ...] = ()
    rejected: dict[str, str] = {}
    activate_ms: int = 0
    reason: str = ""
    recovery_set: str = ""
    recovery_sealed: bytes = b""
    fallback: str = ""
    relays: tuple[str, ...] = ()
    qber: float = 0.0


class RootRefusalRecord(Record, frozen=True):
    """Why no new epoch took the place of `epoch` (0: there is none) when one was wanted."""

    epoch: int
    reason: str
    time_ms: int


class RecoveryRecord(Record, frozen=True):
    """The public half of the recovery key; whoever has `threshold` of its shares holds the other."""

    set_id: str
    threshold: int
    share_count: int
    mlkem_public: bytes
    x25519_public: bytes
    create_ms: int


class RestoreRecord(Record, frozen=True):
    """A backup on its way into this cluster. `commitments`: to the roots that come with it, by epoch."""

    restore_id: str
    next_part: int
    commitments: dict[int, bytes]
    finished: bool = False


class NodeRecord(Record, frozen=True):
    """A node's public keys, to which shares of the root are sealed."""

    node_id: str
    mlkem_public: bytes
    x25519_public: bytes


class OfferRecord(Record, frozen=True):
    """The initiator's public values: 1184, 32 and 32 bytes."""

    mlkem_public: bytes
    x25519_public: bytes
    nonce: bytes


class AnswerRecord(Record, frozen=True):
    """The responder's public values: 1088, 32 and 32 bytes."""

    mlkem_ciphertext: bytes
    x25519_public: bytes
    nonce: bytes


class SessionRecord(Record, frozen=True):
    """One session between two principals; the cluster holds no secret of it."""

    session_id: str
    suite: int
    initiator: str
    responder: str
    state: SessionState
    grade: Grade
    epoch: int
    qkd_key_ids: tuple[str, ...]
    offer: OfferRecord
    create_ms: int
    expire_ms: int
    answer: AnswerRecord | None = None
    initiator_tag: bytes = b""
    responder_tag: bytes = b""


class EventRecord(Record, frozen=True):
    """Something a watcher is told; metadata only. `state`: of the version or epoch, or an alarm's severity."""

    revision: int
    type: EventType
    name: str
    version: int
    state: int
    time_ms: int


class RequestRecord(Record, frozen=True):
    """A mutation that took effect, remembered to answer its repetition."""

    time_ms: int
    fingerprint: bytes
    outcome: bytes
