"""Records about recovery and backups. Nothing here opens anything, but `RecoveryShares` holds what does."""

from dataclasses import dataclass
from datetime import datetime

from qkms.redacted import Redacted


@dataclass(frozen=True)
class RecoveryInfo:
    """The recovery key of the cluster, and the epochs that it opens. `set_id` is empty when there is none."""

    set_id: str
    threshold: int
    share_count: int
    create_time: datetime | None
    epochs: tuple[int, ...]


@dataclass(frozen=True, repr=False, eq=False)
class RecoveryShares(Redacted):
    """The shares of a new recovery key, as text. They exist nowhere else: give them out and let go of this."""

    set_id: str
    threshold: int
    texts: tuple[str, ...]
    replaced: str


@dataclass(frozen=True)
class BackupInfo:
    """What the header of a backup says. `recovery_set_id` is empty for one under a passphrase."""

    cluster_id: str
    node_id: str
    revision: int
    create_time: datetime | None
    active_epoch: int
    key_count: int
    recovery_set_id: str


@dataclass(frozen=True)
class BackupCheck:
    """A backup that was read to its end: every byte verified. `records`: rows of the ledger."""

    info: BackupInfo
    records: int
    size: int


@dataclass(frozen=True)
class RestoreResult:
    """What a restored cluster has."""

    restore_id: str
    node_id: str
    key_count: int
    epochs: tuple[int, ...]
