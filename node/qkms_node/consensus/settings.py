"""Timing, limits and identity files of a replica; every figure has one home here.

Times are in seconds and sizes in bytes. The defaults suit a local network;
wide networks need longer election timeouts.
"""

from dataclasses import dataclass
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB


class SettingsRejected(ValueError):
    """Settings that contradict each other; the message names both and the rule."""

    code = "CONSENSUS_SETTINGS"


@dataclass(frozen=True)
class Tls:
    """PEM files of this member: the cluster's CA, its certificate and its private key.

    `trust_domain` is the host part of the members' SPIFFE ids.
    """

    ca: Path
    certificate: Path
    private_key: Path
    trust_domain: str = "qkms.dev"


@dataclass(frozen=True)
class Timing:
    """When a leader counts as lost, and how often it is heard.

    `leader_fallback_s`: a leader without answers from a majority for this long
    steps down. `background_barrier_s`: how often a node renews its freshness
    when nobody reads. `idle_s`: a connection silent for this long is dropped.
    """

    election_timeout_min_s: float = 0.15
    election_timeout_max_s: float = 0.45
    heartbeat_s: float = 0.04
    leader_fallback_s: float = 0.3
    background_barrier_s: float = 0.2
    handshake_s: float = 3.0
    reconnect_min_s: float = 0.05
    reconnect_max_s: float = 1.0
    idle_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_s * 3 < self.election_timeout_min_s < self.election_timeout_max_s:
            raise SettingsRejected(
                "the election timeouts must satisfy 3 x heartbeat < min < max, got "
                f"heartbeat {self.heartbeat_s}, min {self.election_timeout_min_s}, "
                f"max {self.election_timeout_max_s}"
            )
        if self.leader_fallback_s <= self.heartbeat_s:
            raise SettingsRejected(
                f"leader_fallback ({self.leader_fallback_s}) must be longer than heartbeat ({self.heartbeat_s})"
            )


@dataclass(frozen=True)
class LinkSealing:
    """How the traffic between members is sealed under QKD keys, inside TLS.

    `required`: a route without such keys carries nothing. A key is replaced after `rekey_s`, or when
    `rekey_bytes` were sealed under it, by the next that can be had. `retry_*`: how long no key is asked for after
    a failure. `answer_s`: how long the peer has to take up a key.
    """

    required: bool = False
    rekey_s: float = 3600.0
    rekey_bytes: int = 1024 * MIB
    retry_min_s: float = 0.5
    retry_max_s: float = 15.0
    answer_s: float = 10.0


@dataclass(frozen=True)
class Limits:
    """Bounds on memory, messages and disk.

    `entry_bytes`: proposals are coalesced up to this size; a single command may
    be larger, up to `command_bytes`. `entries_in_flight`: uncommitted entries
    that a leader has at most, so that later proposals gather into one entry.
    `window_*`: unacknowledged log sent ahead to one follower. `keep_entries`:
    entries kept behind a snapshot, so that a follower slightly behind needs no
    snapshot. `free_floor_bytes`: below this much free disk, proposals are refused.
    """

    command_bytes: int = 256 * KIB
    entry_bytes: int = 64 * KIB
    entries_in_flight: int = 2
    queued_commands: int = 20_000
    queued_bytes: int = 32 * MIB
    forwards_in_flight: int = 4
    append_bytes: int = 256 * KIB
    window_bytes: int = 2 * MIB
    window_messages: int = 64
    frame_bytes: int = MIB
    peer_buffer_bytes: int = 8 * MIB
    snapshot_chunk_bytes: int = 128 * KIB
    snapshot_after_entries: int = 10_000
    snapshot_after_bytes: int = 32 * MIB
    keep_entries: int = 2_000
    segment_bytes: int = 16 * MIB
    free_floor_bytes: int = 64 * MIB
    apply_slice_s: float = 0.02
