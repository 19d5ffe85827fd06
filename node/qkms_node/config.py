"""The node's settings: one TOML file, validated whole before anything starts.

`load` names the field in every error. Relative paths are relative to the
folder of the file. Unknown fields are errors: a misspelt limit must not be
silently left at its default.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from qkms_qkd.identity import SaeIdentity
from qkms_qkd.opening import LinkProtocol

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
Address = Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\s]+):[0-9]{1,5}$")]
SAE_KEY_BYTES = 64
"""Of a drawn key in the log, beside the key itself: its key_ID, the seal, the encoding."""
MAX_DRAW_BYTES = 48 * 1024
"""Of all keys of one draw: an entry of the log stays under 64 KiB."""
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Looks = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and the field."""

    code = "CONFIG_INVALID"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections."""


class NodeSection(_Section, frozen=True):
    """[node] `id`: one of cluster.members. `data_dir`: journal, snapshots, sealed root store."""

    id: Name
    data_dir: Path


class Member(_Section, frozen=True):
    """[[cluster.members]] where peers dial (`raft_address`), what clients are told (`rpc_address`),
    and the node's name towards its KME (`sae_id`)."""

    id: Name
    raft_address: Address
    rpc_address: Address
    sae_id: str


class ClusterSection(_Section, frozen=True):
    """[cluster] `id` is bound into the root's commitment and seals: clusters do not mix.

    `members` found the cluster, and then the ledger's records decide. A node that is `joining` founds
    nothing: it waits at its address until one of `members` lets it in.
    """

    id: Name
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=32)]
    joining: bool = False


class RaftSection(_Section, frozen=True):
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


class RpcSection(_Section, frozen=True):
    """[rpc] the gRPC listener. `drain_ms`: how long calls in flight may take at shutdown."""

    listen: Address
    drain_ms: Milliseconds = 5_000


class TlsSection(_Section, frozen=True):
    """[tls] PEM files, for raft, for rpc, and as SAE towards the KME. `trust_domain`: of the SPIFFE ids."""

    ca: Path
    certificate: Path
    private_key: Path
    trust_domain: str = "qkms.dev"


class CaSection(_Section, frozen=True):
    """[ca] at nodes that may sign with the key of `tls.ca`. `key_file`: PKCS#8 PEM, EC P-256, encrypted under
    the passphrase in `passphrase_file` (mode 0600). `leaf_lifetime_s`: of the certificates it signs."""

    key_file: Path
    passphrase_file: Path
    leaf_lifetime_s: Annotated[int, msgspec.Meta(ge=5, le=825 * 86_400)] = 90 * 86_400


class EnrolSection(_Section, frozen=True):
    """[enrol] the listener where new nodes exchange a one-time token for a certificate: the only one that asks
    for no client certificate. `address`: where they are sent, by default `listen`."""

    listen: Address
    address: str = ""


class SealSection(_Section, frozen=True):
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


class AlarmsSection(_Section, frozen=True):
    """[qkd.alarms] when an alarm of a link is raised and cleared: QBERs and rises of it as fractions, fills of
    the store from 0 to 1. A `slack`: how far a value must come back before the alarm is cleared.

    `qber_major`: critical is `qkd.max_qber`. The `qber_rise`s are over the QBER that is usual on the link, which
    the node learns, or `qber_baseline`. `on_qber_rise`: at the major one `refuse` uses no key of the link until
    it is cleared, and none that was distilled meanwhile; `report` does without.
    `raise_after`, `clear_after`: looks in a row, `qkd.poll_ms` apart; the QBER's are raised at the first."""

    qber_major: Fraction = 0.08
    qber_slack: Fraction = 0.005
    qber_rise_warning: Fraction = 0.01
    qber_rise_major: Fraction = 0.015
    qber_rise_slack: Fraction = 0.004
    qber_baseline: Fraction | None = None
    on_qber_rise: Literal["refuse", "report"] = "refuse"
    store_warning: Fraction = 0.25
    store_minor: Fraction = 0.1
    store_slack: Fraction = 0.05
    raise_after: Looks = 2
    clear_after: Looks = 3


KmeUrl = Annotated[str, msgspec.Meta(pattern=r"^https://")]


class KmeSection(_Section, frozen=True):
    """[[qkd.kmes]] one of several KMEs of this site, each as [qkd] has a single one. The lowest `priority` serves
    while it can; of equal ones, the first."""

    kme_id: Annotated[str, msgspec.Meta(min_length=1)]
    priority: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    protocol: LinkProtocol = "etsi014"
    kme_url: KmeUrl | None = None
    folder: Path | None = None


class PrefetchSection(_Section, frozen=True):
    """[qkd.prefetch] keys drawn ahead, sealed on this node's disk: below `low` for a peer and KME, up to `high`.
    One that has waited for `max_age_ms` is not used. It must be shorter than KMEs keep a key for the peer to
    collect, and every node's must be."""

    low: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    high: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 16
    max_age_ms: Annotated[int, msgspec.Meta(ge=1_000, le=24 * 3600 * 1000)] = 600_000


class QkdSection(_Section, frozen=True):
    """[qkd] where this site's QKD keys come from: the KME at `kme_url` by its `protocol`, or the key
    files under `folder`; or several of them, `kmes`. One that failed is asked again after `retry_ms` while others
    serve. `max_qber`: keys over it are refused, at most 0.11. `allow_relays`: whether keys
    that trusted relays have seen may be used. `min_store`: keys of a store that are left for others."""

    kme_id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    protocol: LinkProtocol = "etsi014"
    kme_url: KmeUrl | None = None
    folder: Path | None = None
    kmes: tuple[KmeSection, ...] = ()
    retry_ms: Milliseconds = 5_000
    max_qber: Annotated[float, msgspec.Meta(gt=0, le=0.11)] = 0.11
    allow_relays: bool = False
    min_store: Annotated[int, msgspec.Meta(ge=0)] = 0
    timeout_ms: Milliseconds = 3_000
    poll_ms: Milliseconds = 2_000
    alarms: AlarmsSection = AlarmsSection()
    prefetch: PrefetchSection | None = None

    @property
    def sources(self) -> tuple[KmeSection, ...]:
        """Every KME, the preferred first."""
        if self.kmes:
            return tuple(sorted(self.kmes, key=lambda kme: kme.priority))
        assert self.kme_id is not None
        only = KmeSection(kme_id=self.kme_id, protocol=self.protocol, kme_url=self.kme_url, folder=self.folder)
        return (only,)


class FaceSection(_Section, frozen=True):
    """[northbound.etsi014], [northbound.skip] the listener of a protocol; without the section there is none."""

    listen: Address


Bits = Annotated[int, msgspec.Meta(ge=8, le=65_536, multiple_of=8)]


class NorthboundSection(_Section, frozen=True):
    """[northbound] keys for encryptors that speak ETSI GS QKD 014 or SKIP; the same at every node.

    `saes`: SAE ids that the cluster knows (patterns), read from the certificate's `sae_identity`. Sizes are in
    bits. `max_waiting`: keys of a master and a slave that may be held at once; one that is not collected
    within `max_uncollected_ms` is erased."""

    saes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1_000)]
    sae_identity: SaeIdentity = "cn"
    etsi014: FaceSection | None = None
    skip: FaceSection | None = None
    size_bits: Bits = 256
    min_size_bits: Bits = 64
    max_size_bits: Bits = 1024
    max_waiting: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    max_per_request: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 128
    max_additional_slaves: Annotated[int, msgspec.Meta(ge=0, le=64)] = 8
    max_uncollected_ms: Annotated[int, msgspec.Meta(ge=1_000, le=30 * 24 * 3600 * 1000)] = 3600 * 1000


class RootSection(_Section, frozen=True):
    """[root] `policy`: `require_qkd` seeds only with QKD to every node, `prefer_qkd` goes on
    without (grade PQC) and re-seeds when QKD returns, `pqc_only` never asks a KME.
    `confirm_timeout_ms`: how long a staged epoch waits for its quorum before it is given up.
    `fallback_after_ms`: how long QKD is tried before the fall-back. `on_exhaustion`: what is done when the
    links are sound and their stores have too few keys: `fall_back` if `policy` lets it (else as `wait`), `wait`
    for keys, or `refuse` the epoch at once. `resume_after_ms`: how long every link must have been usable before
    an epoch without QKD gives way. `rotation_period_ms`: the age at which an active epoch is replaced; 0: only
    when asked."""

    policy: Literal["require_qkd", "prefer_qkd", "pqc_only"] = "require_qkd"
    confirm_timeout_ms: Milliseconds = 10_000
    fallback_after_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 5_000
    on_exhaustion: Literal["fall_back", "wait", "refuse"] = "fall_back"
    resume_after_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 3_000
    retry_ms: Milliseconds = 1_000
    rotation_period_ms: Annotated[int, msgspec.Meta(ge=0)] = 30 * 24 * 3600 * 1000


class Rule(_Section, frozen=True):
    """[[access.rules]] who may do what to which keys; patterns with `*`. `effect = "deny"` wins."""

    principals: tuple[str, ...]
    actions: tuple[str, ...]
    keys: tuple[str, ...] = ("*",)
    effect: Literal["allow", "deny"] = "allow"


class AccessSection(_Section, frozen=True):
    """[access] what no rule allows is refused. `admin`: principals (patterns) that may always manage
    policies, roles, tenants and grants, whatever the ledger says, so that nobody is locked out."""

    rules: tuple[Rule, ...] = ()
    admin: tuple[str, ...] = ()


class AuditSection(_Section, frozen=True):
    """[audit] `on_failure`: what a node does while it cannot write its audit. `rotate_bytes`: when a
    file of calls is followed by the next. `anchor_every_ms`: how often its head goes into the ledger."""

    on_failure: Literal["refuse", "warn"] = "refuse"
    rotate_bytes: Annotated[int, msgspec.Meta(ge=4_096)] = 16 * 1024 * 1024
    anchor_every_ms: Milliseconds = 60_000


class LimitsSection(_Section, frozen=True):
    """[limits] `default_max_staleness_ms`: for keys that name none; `default_destroy_grace_ms`
    between DestroyVersion and erasure; `max_concurrent_calls` before calls are refused."""

    default_max_staleness_ms: Milliseconds = 30_000
    default_destroy_grace_ms: Annotated[int, msgspec.Meta(ge=0)] = 24 * 3600 * 1000
    max_concurrent_calls: Annotated[int, msgspec.Meta(ge=1)] = 2_000


class MetricsSection(_Section, frozen=True):
    """[metrics] `listen`: loopback only, since this listener asks for no certificate; port 0 takes a free one."""

    listen: Address


class TracingSection(_Section, frozen=True):
    """[tracing] an OTLP collector (gRPC): https, or http on loopback. `sample_ratio`: of traces begun here."""

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^https?://")]
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


class LogSection(_Section, frozen=True):
    """[log] `level` of the JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Section, frozen=True):
    """The whole file."""

    node: NodeSection
    cluster: ClusterSection
    raft: RaftSection
    rpc: RpcSection
    tls: TlsSection
    seal: SealSection
    qkd: QkdSection | None = None
    ca: CaSection | None = None
    enrol: EnrolSection | None = None
    root: RootSection = RootSection()
    access: AccessSection = AccessSection()
    audit: AuditSection = AuditSection()
    limits: LimitsSection = LimitsSection()
    northbound: NorthboundSection | None = None
    metrics: MetricsSection | None = None
    tracing: TracingSection | None = None
    log: LogSection = LogSection()

    @property
    def me(self) -> Member:
        """This node's own entry among the members."""
        return next(m for m in self.cluster.members if m.id == self.node.id)


def load(path: Path) -> Config:
    """Reads and validates `path`. Raises ConfigError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    base = path.resolve().parent
    try:
        config = msgspec.toml.decode(text, type=Config, dec_hook=lambda kind, value: kind(base / value))
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {_field_first(str(error))}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply for a configuration") from None
    except ValueError:  # Python refuses to read a number of more than 4,300 digits
        raise ConfigError(f"{path}: has a number with far too many digits") from None
    _check(path, config)
    return config


def _check(path: Path, config: Config) -> None:
    ids = [m.id for m in config.cluster.members]
    if len(set(ids)) != len(ids):
        raise ConfigError(f"{path}: cluster.members: two members have the same id")
    if config.node.id not in ids:
        raise ConfigError(f"{path}: node.id: {config.node.id} is not among cluster.members ({', '.join(ids)})")
    if config.raft.election_timeout_min_ms >= config.raft.election_timeout_max_ms:
        raise ConfigError(f"{path}: raft.election_timeout_max_ms: must be over election_timeout_min_ms")
    if config.raft.heartbeat_ms * 3 >= config.raft.election_timeout_min_ms:
        raise ConfigError(f"{path}: raft.heartbeat_ms: must be under a third of election_timeout_min_ms")
    if config.raft.leader_fallback_ms <= config.raft.heartbeat_ms:
        raise ConfigError(f"{path}: raft.leader_fallback_ms: must be over heartbeat_ms")
    _check_seal(path, config.seal)
    if config.raft.link_keys == "require_qkd" and len(ids) > 1:
        if config.qkd is None:
            raise ConfigError(f"{path}: raft.link_keys: require_qkd needs a [qkd] section with this site's KME")
        if config.root.policy == "pqc_only":
            raise ConfigError(f"{path}: raft.link_keys: require_qkd and root.policy pqc_only exclude each other")
    if config.qkd is not None:
        _check_qkd(path, config.qkd)
        if config.qkd.prefetch is not None and config.seal.mode == "peers":
            raise ConfigError(
                f"{path}: qkd.prefetch: seal.mode peers keeps no secret on this node's disk; choose one"
            )
    if config.northbound is not None:
        _check_northbound(path, config.northbound)
    if config.root.policy == "require_qkd" and config.qkd is None and len(ids) > 1:
        raise ConfigError(f"{path}: root.policy: require_qkd needs a [qkd] section with this site's KME")
    if config.metrics is not None and not _is_loopback(config.metrics.listen.rpartition(":")[0]):
        raise ConfigError(
            f"{path}: metrics.listen: {config.metrics.listen} is not a loopback address, and metrics are served "
            "without authentication; let a collector on this machine pass them on"
        )
    if config.tracing is not None:
        try:
            url = urlsplit(config.tracing.endpoint)
        except ValueError as error:
            raise ConfigError(f"{path}: tracing.endpoint: {config.tracing.endpoint!r}: {error}") from None
        if url.scheme == "http" and not _is_loopback(url.hostname or ""):
            raise ConfigError(f"{path}: tracing.endpoint: {config.tracing.endpoint} must be https, or on loopback")
    for name, file in (("ca", config.tls.ca), ("certificate", config.tls.certificate)):
        try:
            there = file.is_file()
        except OSError as error:
            raise ConfigError(f"{path}: tls.{name}: {str(file)[:200]}: {error.strerror}") from None
        if not there:
            raise ConfigError(f"{path}: tls.{name}: there is no file {file}")


def _check_qkd(path: Path, qkd: QkdSection) -> None:
    _check_kmes(path, qkd)
    if qkd.prefetch is not None:
        if qkd.prefetch.low > qkd.prefetch.high:
            raise ConfigError(f"{path}: qkd.prefetch.low: must not be over high")
        if all(kme.protocol == "files" for kme in qkd.sources):
            raise ConfigError(f"{path}: qkd.prefetch: key files are at hand as they are; leave it out")
    alarms = qkd.alarms
    for less, more in (("qber_rise_warning", "qber_rise_major"), ("store_minor", "store_warning")):
        if getattr(alarms, less) > getattr(alarms, more):
            raise ConfigError(f"{path}: qkd.alarms.{less}: must not be over {more}")
    for slack, least in (("qber_slack", "qber_major"), ("qber_rise_slack", "qber_rise_warning")):
        if getattr(alarms, slack) >= getattr(alarms, least):
            raise ConfigError(f"{path}: qkd.alarms.{slack}: must be under {least}, or no alarm is ever cleared")


def _check_kmes(path: Path, qkd: QkdSection) -> None:
    if not qkd.kmes:
        if qkd.kme_id is None:
            raise ConfigError(f"{path}: qkd.kme_id: is needed, or [[qkd.kmes]] where this site has several KMEs")
        _check_source(f"{path}: qkd", qkd)
        return
    for field in ("kme_id", "kme_url", "folder", "protocol"):
        if getattr(qkd, field) not in (None, "etsi014"):
            raise ConfigError(f"{path}: qkd.{field}: is of a single KME; with [[qkd.kmes]] each has its own")
    ids = [kme.kme_id for kme in qkd.kmes]
    for i, kme in enumerate(qkd.kmes):
        if kme.kme_id in ids[:i]:
            raise ConfigError(f"{path}: qkd.kmes[{i}].kme_id: {kme.kme_id} is there twice")
        _check_source(f"{path}: qkd.kmes[{i}]", kme)


def _check_source(where: str, source: QkdSection | KmeSection) -> None:
    needed, other = ("folder", "kme_url") if source.protocol == "files" else ("kme_url", "folder")
    if getattr(source, needed) is None:
        raise ConfigError(f"{where}.{needed}: protocol {source.protocol} needs it")
    if getattr(source, other) is not None:
        raise ConfigError(f"{where}.{other}: protocol {source.protocol} does not use it")


def _check_northbound(path: Path, northbound: NorthboundSection) -> None:
    if northbound.etsi014 is None and northbound.skip is None:
        raise ConfigError(f"{path}: northbound: needs etsi014.listen, skip.listen, or both")
    if not northbound.min_size_bits <= northbound.size_bits <= northbound.max_size_bits:
        raise ConfigError(f"{path}: northbound.size_bits: must lie between min_size_bits and max_size_bits")
    # All keys of a request travel in one command of the log.
    if northbound.max_per_request * (northbound.max_size_bits // 8 + SAE_KEY_BYTES) > MAX_DRAW_BYTES:
        raise ConfigError(
            f"{path}: northbound.max_per_request: so many keys of max_size_bits are over {MAX_DRAW_BYTES} bytes; "
            "lower one of the two"
        )


def _check_seal(path: Path, seal: SealSection) -> None:
    needs_secret = seal.mode in ("passphrase", "pkcs11")
    if seal.mode == "keyfile" and seal.key_file is None:
        raise ConfigError(f"{path}: seal.key_file: mode keyfile needs it")
    if seal.mode == "pkcs11" and (seal.module is None or not seal.token_label):
        raise ConfigError(f"{path}: seal.module, seal.token_label: mode pkcs11 needs both")
    if not needs_secret and (seal.secret_file is not None or seal.secret_fd is not None):
        raise ConfigError(f"{path}: seal.secret_file, seal.secret_fd: mode {seal.mode} takes no secret")
    if seal.secret_file is not None and seal.secret_fd is not None:
        raise ConfigError(f"{path}: seal.secret_fd: secret_file is set as well; choose one")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _field_first(message: str) -> str:
    """Turns msgspec's "problem - at `$.a.b`" into "a.b: problem"."""
    problem, _, where = message.partition(" - at `$")
    field = where.rstrip("`").lstrip(".")
    return f"{field}: {problem}" if field else problem
