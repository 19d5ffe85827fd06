"""The node's settings: one TOML file, validated whole before anything starts.

`load` names the field in every error. Relative paths are relative to the
folder of the file. Unknown fields are errors: a misspelt limit must not be
silently left at its default.
"""

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from qkms_node.config_fields import ConfigError, Section
from qkms_node.config_quantum import NorthboundSection, QkdSection, RootSection, check_northbound, check_qkd
from qkms_node.config_sections import (
    AccessSection,
    AuditSection,
    CaSection,
    ClusterSection,
    EnrolSection,
    LimitsSection,
    LogSection,
    Member,
    MetricsSection,
    NodeSection,
    RaftSection,
    RpcSection,
    SealSection,
    TlsSection,
    TracingSection,
    check_seal,
)


class Config(Section, frozen=True):
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
    check_seal(path, config.seal)
    if config.raft.link_keys == "require_qkd" and len(ids) > 1:
        if config.qkd is None:
            raise ConfigError(f"{path}: raft.link_keys: require_qkd needs a [qkd] section with this site's KME")
        if config.root.policy == "pqc_only":
            raise ConfigError(f"{path}: raft.link_keys: require_qkd and root.policy pqc_only exclude each other")
    if config.qkd is not None:
        check_qkd(path, config.qkd)
        if config.qkd.prefetch is not None and config.seal.mode == "peers":
            raise ConfigError(
                f"{path}: qkd.prefetch: seal.mode peers keeps no secret on this node's disk; choose one"
            )
    if config.northbound is not None:
        check_northbound(path, config.northbound)
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
