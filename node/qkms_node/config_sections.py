"""The sections of a node's configuration about the node and its cluster."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from qkms_node.config_fields import Address, ConfigError, Milliseconds, Name, Section


class NodeSection(Section, frozen=True):
    """[node] `id`: one of cluster.members. `data_dir`: journal, snapshots, sealed root store."""

    id: Name
    data_dir: Path


class Member(Section, frozen=True):
    """[[cluster.members]] where peers dial (`raft_address`), what clients are told (`rpc_address`),
    and the node's name towards its KME (`sae_id`)."""

    id: Name
    raft_address: Address
    rpc_address: Address
    sae_id: str


class ClusterSection(Section, frozen=True):
    """[cluster] `id` is bound into the root's commitment and seals: clusters do not mix.

    `members` found the cluster, and then the ledger's records decide. A node that is `joining` founds
    nothing: it waits at its address until one of `members` lets it in.
    """

    id: Name
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=32)]
    joining: bool = False


class RaftSection(Section, frozen=True):
    """[raft] the listener and the timing of consensus, for a local network by default.

    A snapshot is taken after so many log entries; `keep_entries` stay behind it, for members that lag a little.
    `dial`: where this node dials members (id -> host:port) in place of the address that the cluster knows.
    `link_keys`: whether what passes between members is sealed under QKD keys too, inside TLS; a key is replaced
    after `link_rekey_ms`, or when `link_rekey_mib` MiB were sealed under it."""

    listen: Address
    election_timeout_min_ms: Milliseconds = 150
    election_timeout_max_ms: Milliseconds = 450
    heartbeat_ms: Milliseconds = 40
    leader_fallback_ms: Milliseconds = 300
    propose_timeout_ms: Milliseconds = 5_000
    barrier_timeout_ms: Milliseconds = 1_500
    snapshot_after_entries: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    keep_entries: Annotated[int, msgspec.Meta(ge=0)] = 2_000
    dial: dict[Name, Address] = {}
    link_keys: Literal["prefer_qkd", "require_qkd", "off"] = "prefer_qkd"
    link_rekey_ms: Annotated[int, msgspec.Meta(ge=1_000, le=86_400_000)] = 3_600_000
    link_rekey_mib: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1_024


class RpcSection(Section, frozen=True):
    """[rpc] the gRPC listener. `drain_ms`: how long calls in flight may take at shutdown."""

    listen: Address
    drain_ms: Milliseconds = 5_000


class TlsSection(Section, frozen=True):
    """[tls] PEM files, for raft, for rpc, and as SAE towards the KME. `trust_domain`: of the SPIFFE ids."""

    ca: Path
    certificate: Path
    private_key: Path
    trust_domain: str = "qkms.dev"


class CaSection(Section, frozen=True):
    """[ca] at nodes that may sign with the key of `tls.ca`. `key_file`: PKCS#8 PEM, EC P-256, encrypted under
    the passphrase in `passphrase_file` (mode 0600). `leaf_lifetime_s`: of the certificates it signs."""

    key_file: Path
    passphrase_file: Path
    leaf_lifetime_s: Annotated[int, msgspec.Meta(ge=5, le=825 * 86_400)] = 90 * 86_400


class EnrolSection(Section, frozen=True):
    """[enrol] the listener where new nodes exchange a one-time token for a certificate: the only one that asks
    for no client certificate. `address`: where they are sent, by default `listen`."""

    listen: Address
    address: str = ""


class SealSection(Section, frozen=True):
    """[seal] how the root is sealed on this node's disk, by `mode`:

    `keyfile` under the 32 bytes of `key_file`, made with mode 0600; `passphrase` under a passphrase
    (Argon2id); `pkcs11` under an AES key of a token; `peers` never on disk: a restarted node is given
    the root by another. Passphrase or PIN come from `secret_file`, from the descriptor `secret_fd`,
    which is read once, or else from an operator (`qkms-node unseal`, `qkms unseal`)."""

    mode: Literal["keyfile", "passphrase", "pkcs11", "peers"]
    key_file: Path | None = None
    secret_file: Path | None = None
    secret_fd: Annotated[int, msgspec.Meta(ge=0)] | None = None
    argon2_memory_kib: Annotated[int, msgspec.Meta(ge=8 * 1024, le=4 * 1024 * 1024)] = 64 * 1024
    argon2_passes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    argon2_lanes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    module: Path | None = None
    token_label: str = ""
    key_label: str = "qkms-root"


class Rule(Section, frozen=True):
    """[[access.rules]] who may do what to which keys; patterns with `*`. `effect = "deny"` wins."""

    principals: tuple[str, ...]
    actions: tuple[str, ...]
    keys: tuple[str, ...] = ("*",)
    effect: Literal["allow", "deny"] = "allow"


class AccessSection(Section, frozen=True):
    """[access] what no rule allows is refused. `admin`: principals (patterns) that may always manage
    policies, roles, tenants and grants, whatever the ledger says, so that nobody is locked out."""

    rules: tuple[Rule, ...] = ()
    admin: tuple[str, ...] = ()


class AuditSection(Section, frozen=True):
    """[audit] `on_failure`: what a node does while it cannot write its audit. `rotate_bytes`: when a
    file of calls is followed by the next. `anchor_every_ms`: how often its head goes into the ledger."""

    on_failure: Literal["refuse", "warn"] = "refuse"
    rotate_bytes: Annotated[int, msgspec.Meta(ge=4_096)] = 16 * 1024 * 1024
    anchor_every_ms: Milliseconds = 60_000


class LimitsSection(Section, frozen=True):
    """[limits] `default_max_staleness_ms`: for keys that name none; `default_destroy_grace_ms`
    between DestroyVersion and erasure; `max_concurrent_calls` before calls are refused."""

    default_max_staleness_ms: Milliseconds = 30_000
    default_destroy_grace_ms: Annotated[int, msgspec.Meta(ge=0)] = 24 * 3600 * 1000
    max_concurrent_calls: Annotated[int, msgspec.Meta(ge=1)] = 2_000


class MetricsSection(Section, frozen=True):
    """[metrics] `listen`: loopback only, since this listener asks for no certificate; port 0 takes a free one."""

    listen: Address


class TracingSection(Section, frozen=True):
    """[tracing] an OTLP collector (gRPC): https, or http on loopback. `sample_ratio`: of traces begun here."""

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^https?://")]
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


class LogSection(Section, frozen=True):
    """[log] `level` of the JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


def check_seal(path: Path, seal: SealSection) -> None:
    """Raises ConfigError."""
    needs_secret = seal.mode in ("passphrase", "pkcs11")
    if seal.mode == "keyfile" and seal.key_file is None:
        raise ConfigError(f"{path}: seal.key_file: mode keyfile needs it")
    if seal.mode == "pkcs11" and (seal.module is None or not seal.token_label):
        raise ConfigError(f"{path}: seal.module, seal.token_label: mode pkcs11 needs both")
    if not needs_secret and (seal.secret_file is not None or seal.secret_fd is not None):
        raise ConfigError(f"{path}: seal.secret_file, seal.secret_fd: mode {seal.mode} takes no secret")
    if seal.secret_file is not None and seal.secret_fd is not None:
        raise ConfigError(f"{path}: seal.secret_fd: secret_file is set as well; choose one")
