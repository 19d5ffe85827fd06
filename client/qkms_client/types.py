"""What the calls return: frozen records of the protocol's messages, and its enumerations.

Times are aware datetimes in UTC, sizes are bytes unless a name says bits.
`header` says from which state the answer was given; it does not take part in
comparison. Results that hold a secret live in `secret`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from qkms_client.crypto_types import Encrypted, Mac, PublicKey, Rewrapped, Signature, Verification
from qkms_client.enums import (
    AlarmSeverity,
    Algorithm,
    EpochState,
    EventType,
    Grade,
    KeyState,
    Level,
    LinkAlarmKind,
    LinkState,
    MemberRole,
    PublicKeyFormat,
    Role,
    SessionState,
    VersionState,
)
from qkms_client.header import Header
from qkms_client.link_types import Link, LinkAlarm, LinkKme, LinkSample


@dataclass(frozen=True)
class Key:
    """A key's public record. `max_qber`: a fraction; 0: any QBER is allowed."""

    name: str
    algorithm: str
    primary_version: int
    version_count: int
    create_time: datetime | None
    required_grade: Grade
    max_staleness: timedelta
    labels: dict[str, str]
    etag: str
    revision: int
    state: KeyState = KeyState.ENABLED
    staged_version: int = 0
    rotation_period: timedelta | None = None
    next_rotation_time: datetime | None = None
    min_decrypt_version: int = 0
    min_encrypt_version: int = 0
    deletion_protection: bool = False
    exportable: bool = False
    allow_compromised_decrypt: bool = False
    delete_time: datetime | None = None
    prefer_qkd: bool = False
    refuse_relays: bool = False
    max_qber: float = 0.0
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)

    @property
    def key_id(self) -> str:
        """The name without its collection."""
        return self.name.removeprefix("keys/")


@dataclass(frozen=True)
class Staging:
    """The evidence that a staged version is sound: voters that opened it, and the revision each had applied.

    `rejected`: voters that could not open it when it was active already, and why.
    """

    revision: int
    stage_time: datetime | None
    activate_after_time: datetime | None
    voters: tuple[str, ...]
    confirmed: dict[str, int]
    validate_time: datetime | None
    rejected: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyVersion:
    """A key version's public record, with where its secrecy comes from.

    `relayed`: it is, or was, under a root epoch whose QKD keys have passed relays. `qber`: the
    greatest of those epochs.
    """

    name: str
    version: int
    state: VersionState
    grade: Grade
    root_epoch: int
    create_time: datetime | None
    activate_time: datetime | None
    destroy_time: datetime | None
    qkd_key_ids: tuple[str, ...]
    staging: Staging | None = None
    compromise_time: datetime | None = None
    reason: str = ""
    relayed: bool = False
    qber: float = 0.0
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Activation:
    """An activation: the key after it, and its new primary version.

    `already_active`: the version was primary before; nothing changed.
    """

    key: Key
    version: KeyVersion
    replayed: bool
    already_active: bool
    request_id: str
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ImportParameters:
    """A one-time public key (RSA: DER SubjectPublicKeyInfo; ML-KEM: 1184 bytes) to wrap material under.

    `name` is passed back with the wrapped material, and is the purpose that it is wrapped for.
    """

    name: str
    method: int
    public_key: bytes
    expire_time: datetime | None
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Rotation:
    """A rotation: the key after it, and its new primary version.

    `replayed`: this very request had taken effect before; nothing changed this time.
    """

    key: Key
    version: KeyVersion
    replayed: bool
    request_id: str
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class KeyEvent:
    """Something that happened to a key, the root, a member or a link; `severity`: of a link's alarm."""

    revision: int
    type: EventType
    name: str
    version: int
    state: VersionState
    time: datetime | None
    severity: AlarmSeverity = AlarmSeverity.UNSPECIFIED


@dataclass(frozen=True)
class Session:
    """The public state of a session."""

    name: str
    state: SessionState
    initiator: str
    responder: str
    grade: Grade
    root_epoch: int
    qkd_key_ids: tuple[str, ...]
    create_time: datetime | None
    expire_time: datetime | None
    header: Header | None = field(default=None, compare=False, repr=False)

    @property
    def session_id(self) -> str:
        """The name without its collection."""
        return self.name.removeprefix("sessions/")


@dataclass(frozen=True)
class Member:
    """A member of the cluster, and what the answering node sees of it.

    `role` is what it is meant to be (UNSPECIFIED: it is to go), `acting_role` what it is by that node's log.
    `joined`: its public keys are known. `behind`: log entries it lacks, and `trouble`: why its change has
    not been made, are known to the leader only. `qkd_sealed`: all Raft traffic between that node and it is sealed
    under QKD keys, inside TLS; None for itself.
    """

    id: str
    rpc_address: str
    connected: bool
    raft_address: str = ""
    sae_id: str = ""
    role: MemberRole = MemberRole.UNSPECIFIED
    acting_role: MemberRole = MemberRole.UNSPECIFIED
    joined: bool = False
    holds_root: bool = False
    added_by: str = ""
    add_time: datetime | None = None
    behind: int | None = None
    trouble: str = ""
    qkd_sealed: bool | None = None


@dataclass(frozen=True)
class MemberChange:
    """A recorded change of a member, or of the leader, which the leader carries out: see list_members.

    `replayed`: this very request had taken effect before.
    """

    node_id: str
    replayed: bool
    request_id: str
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class RootEpoch:
    """A root epoch's public record. `fallback`: why it does without QKD though the root's policy prefers it.

    `relays`: KMEs that have seen a QKD key in clear which sealed a share of it, as far as KMEs tell.
    `qber`: the greatest of the links that those keys came over, a fraction; 1: a KME tells none, 0: no QKD keys.
    """

    epoch: int
    state: EpochState
    grade: Grade
    qkd_key_ids: tuple[str, ...]
    confirmed_by: tuple[str, ...]
    stage_time: datetime | None
    activate_time: datetime | None
    reason: str
    fallback: str = ""
    relays: tuple[str, ...] = ()
    qber: float = 0.0


@dataclass(frozen=True)
class SealStatus:
    """How a node is sealed. `stored`: whether it has a root store on disk, which its secret opens."""

    mode: str
    sealed: bool
    reason: str
    needs_secret: bool
    stored: bool


@dataclass(frozen=True)
class EpochUse:
    """A root epoch in use: how many key versions, open sessions and waiting keys of encryptors are under it."""

    epoch: int
    state: EpochState
    grade: Grade
    version_count: int
    session_count: int
    recoverable: bool
    sae_key_count: int = 0
    relays: tuple[str, ...] = ()
    qber: float = 0.0


@dataclass(frozen=True)
class NodeStatus:
    """A node's own view. `state_digest` is equal on all nodes at equal `revision`."""

    node_id: str
    cluster_id: str
    role: Role
    term: int
    commit_index: int
    applied_index: int
    revision: int
    state_digest: bytes
    root: RootEpoch | None
    open_epochs: tuple[int, ...]
    seeding: str
    members: tuple[Member, ...]
    key_count: int
    version: str
    start_time: datetime | None
    seal: SealStatus | None = None
    epoch_uses: tuple[EpochUse, ...] = ()
    recovery_set_id: str = ""
    certificate_expire_time: datetime | None = None
    warnings: tuple[str, ...] = ()
    enrol_address: str = ""
    audit: str = ""
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class RootRotation:
    """An accepted request for a new root epoch, which follows when a quorum has confirmed it."""

    expected_epoch: int
    replayed: bool
    request_id: str
    header: Header | None = field(default=None, compare=False, repr=False)


__all__ = [
    "Activation",
    "AlarmSeverity",
    "Algorithm",
    "Encrypted",
    "EpochState",
    "EpochUse",
    "EventType",
    "Grade",
    "Header",
    "ImportParameters",
    "Key",
    "KeyEvent",
    "KeyState",
    "KeyVersion",
    "Level",
    "Link",
    "LinkAlarm",
    "LinkAlarmKind",
    "LinkKme",
    "LinkSample",
    "LinkState",
    "Mac",
    "Member",
    "MemberChange",
    "MemberRole",
    "NodeStatus",
    "PublicKey",
    "PublicKeyFormat",
    "Rewrapped",
    "Role",
    "RootEpoch",
    "RootRotation",
    "Rotation",
    "SealStatus",
    "Session",
    "SessionState",
    "Signature",
    "Staging",
    "Verification",
    "VersionState",
]
