"""Quantum links as their nodes see them: figures, alarms, samples."""

from dataclasses import dataclass
from datetime import datetime

from qkms_client.enums import AlarmSeverity, LinkAlarmKind, LinkState


@dataclass(frozen=True)
class LinkAlarm:
    """An alarm of a link that is raised, or one step of one in a history; CLEARED ends it."""

    peer_node_id: str
    kind: LinkAlarmKind
    severity: AlarmSeverity
    raise_time: datetime | None
    change_time: datetime | None
    cause: str
    node_id: str = ""
    kme_id: str = ""


@dataclass(frozen=True)
class LinkSample:
    """One look at a link; None: the KME did not tell. `error_code`: why it gave no status."""

    time: datetime | None
    error_code: str
    qber: float | None
    skr: float | None
    stored_key_count: int | None
    max_key_count: int | None


@dataclass(frozen=True)
class LinkKme:
    """One of several KMEs by which a node reaches a peer; the lowest `priority` is preferred. None: not known.

    `serves`: keys are drawn by this one; `error`: why they would not be.
    """

    kme_id: str
    priority: int
    state: LinkState
    serves: bool
    error: str
    qber: float | None
    stored_key_count: int | None
    prefetched_key_count: int


@dataclass(frozen=True)
class Link:
    """A quantum link as its node sees it, in the words of ETSI GS QKD 015; None: not known.

    `qber` and `qber_baseline` (what is usual on the link) are 0 to 1; `skr`, `eskr` (what came into the store,
    not known while it is full) and `expected_consumption` (what the node takes) in bit/s; `key_size` in bits.
    `kmes`: each KME of the node's site, where it has several; the figures are those of the one that serves.
    `prefetched_key_count`: keys that the node has drawn ahead.
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
    eskr: float | None = None
    expected_consumption: float | None = None
    expected_exhaustion_time: datetime | None = None
    link_overloaded: bool = False
    qber_baseline: float | None = None
    discarded_key_count: int = 0
    alarms: tuple[LinkAlarm, ...] = ()
    kmes: tuple[LinkKme, ...] = ()
    prefetched_key_count: int = 0

    @property
    def fill(self) -> float | None:
        """How full the store is, 0 to 1."""
        if self.stored_key_count is None or not self.max_key_count:
            return None
        return self.stored_key_count / self.max_key_count
