"""The sections of a node's configuration about QKD: its KMEs, the root they seed, the encryptors they serve."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from qkms_node.config_fields import Address, ConfigError, Fraction, Milliseconds, Section
from qkms_qkd.identity import SaeIdentity
from qkms_qkd.opening import LinkProtocol

SAE_KEY_BYTES = 64
"""Of a drawn key in the log, beside the key itself: its key_ID, the seal, the encoding."""
MAX_DRAW_BYTES = 48 * 1024
"""Of all keys of one draw: an entry of the log stays under 64 KiB."""
Looks = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
KmeUrl = Annotated[str, msgspec.Meta(pattern=r"^https://")]
Bits = Annotated[int, msgspec.Meta(ge=8, le=65_536, multiple_of=8)]


class AlarmsSection(Section, frozen=True):
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


class KmeSection(Section, frozen=True):
    """[[qkd.kmes]] one of several KMEs of this site, each as [qkd] has a single one. The lowest `priority` serves
    while it can; of equal ones, the first."""

    kme_id: Annotated[str, msgspec.Meta(min_length=1)]
    priority: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    protocol: LinkProtocol = "etsi014"
    kme_url: KmeUrl | None = None
    folder: Path | None = None


class PrefetchSection(Section, frozen=True):
    """[qkd.prefetch] keys drawn ahead, sealed on this node's disk: below `low` for a peer and KME, up to `high`.
    One that has waited for `max_age_ms` is not used. It must be shorter than KMEs keep a key for the peer to
    collect, and every node's must be."""

    low: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    high: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 16
    max_age_ms: Annotated[int, msgspec.Meta(ge=1_000, le=24 * 3600 * 1000)] = 600_000


class QkdSection(Section, frozen=True):
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


class FaceSection(Section, frozen=True):
    """[northbound.etsi014], [northbound.skip] the listener of a protocol; without the section there is none."""

    listen: Address


class NorthboundSection(Section, frozen=True):
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


class RootSection(Section, frozen=True):
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


def check_qkd(path: Path, qkd: QkdSection) -> None:
    """Raises ConfigError."""
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


def check_northbound(path: Path, northbound: NorthboundSection) -> None:
    """Raises ConfigError."""
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
