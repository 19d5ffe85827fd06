"""What the calls return: frozen records of the protocol's messages.

Times are aware datetimes in UTC, sizes are bytes unless a name says bits.
`header` says from which state the answer was given; it does not take part in
comparison. Results that hold a secret live in `secret`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
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
    """Where a key's secrecy comes from; a greater grade satisfies a lesser requirement."""

    UNSPECIFIED = 0
    PQC = 1
    QKD = 2
    QKD_PQC = 3

    def __str__(self) -> str:
        return "QKD+PQC" if self is Grade.QKD_PQC else self.name


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


class EventType(_Number):
    """Kinds of events of a watch."""

    UNSPECIFIED = 0
    KEY_CREATED = 1
    KEY_ROTATED = 2
    VERSION_STATE_CHANGED = 3
    ROOT_ACTIVATED = 4


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


class EpochState(_Number):
    """States of a root epoch."""

    UNSPECIFIED = 0
    STAGED = 1
    ACTIVE = 2
    RETIRED = 3
    ABORTED = 4


class LinkState(_Number):
    """States of a quantum link."""

    UNSPECIFIED = 0
    UP = 1
    DOWN = 2
    KME_UNREACHABLE = 3


@dataclass(frozen=True)
class Header:
    """The state an answer was given from. `staleness` bounds its age; None: not known."""

    revision: int
    term: int
    leader_known: bool
    staleness: timedelta | None
    consistency: Level
    node_id: str
    leader_id: str


@dataclass(frozen=True)
class Key:
    """A key's public record."""

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
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)

    @property
    def key_id(self) -> str:
        """The name without its collection."""
        return self.name.removeprefix("keys/")


@dataclass(frozen=True)
class KeyVersion:
    """A key version's public record, with where its secrecy comes from."""

    name: str
    version: int
    state: VersionState
    grade: Grade
    root_epoch: int
    create_time: datetime | None
    activate_time: datetime | None
    destroy_time: datetime | None
    qkd_key_ids: tuple[str, ...]
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
class Encrypted:
    """A ciphertext, and the version and grade it is under."""

    ciphertext: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class KeyEvent:
    """Something that happened to a key, or a root epoch that became active. Metadata only."""

    revision: int
    type: EventType
    name: str
    version: int
    state: VersionState
    time: datetime | None


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
class Link:
    """A quantum link as its node sees it; None: not known.

    `qber` is 0 to 1, `skr` in bit/s, `key_size` in bits.
    """

    peer_node_id: str
    local_sae_id: str
    peer_sae_id: str
    source_kme_id: str
    target_kme_id: str
    state: LinkState
    qber: float | None
    skr: float | None
    stored_key_count: int | None
    max_key_count: int | None
    key_size: int
    error: str
    observe_time: datetime | None
    node_id: str = ""


@dataclass(frozen=True)
class Member:
    """A member of the cluster, and whether the answering node has a connection to it."""

    id: str
    rpc_address: str
    connected: bool


@dataclass(frozen=True)
class RootEpoch:
    """A root epoch's public record."""

    epoch: int
    state: EpochState
    grade: Grade
    qkd_key_ids: tuple[str, ...]
    confirmed_by: tuple[str, ...]
    stage_time: datetime | None
    activate_time: datetime | None
    reason: str


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
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class RootRotation:
    """An accepted request for a new root epoch, which follows when a quorum has confirmed it."""

    expected_epoch: int
    replayed: bool
    request_id: str
    header: Header | None = field(default=None, compare=False, repr=False)
