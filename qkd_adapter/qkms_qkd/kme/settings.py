"""Settings of one KME: a TOML file read into frozen, validated records.

Every error is a SettingsError that names the field (`links[0].length_km`). Left out: reading the
PEM files, which `tls` does when the listeners are made.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from qkms_qkd.admission import MAX_QBER
from qkms_qkd.identity import SaeIdentity
from qkms_qkd.kme.network.section import NetworkSection, network_problems
from qkms_qkd.kme.quotas import QuotaSection, quota_problems
from qkms_qkd.kme.toml_files import SettingsError, decoded_toml, read_bytes
from qkms_qkd.tls import TlsFiles

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}\Z")


class KmeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[kme]: identity, the two listeners (host:port), data directory, who may inject faults."""

    id: str
    listen: str
    link_listen: str
    data_dir: str
    sae_identity: SaeIdentity = "cn"
    admins: list[str] = []


class TlsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[tls]: PEM paths; one certificate serves both listeners and dials other KMEs."""

    ca: str
    certificate: str
    private_key: str

    def files(self) -> TlsFiles:
        """The paths as TlsFiles."""
        return TlsFiles(Path(self.ca), Path(self.certificate), Path(self.private_key))


class KeysSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[keys]: sizes in bits; `max_stored` keys per link; uncollected keys are deleted after a time."""

    size_bits: int = 256
    min_size_bits: int = 64
    max_size_bits: int = 1024
    max_stored: int = 1000
    max_per_request: int = 128
    max_qber: float = MAX_QBER
    max_uncollected_s: float = 86_400.0


class SkipSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[skip]: the listener (host:port) for SAEs that speak SKIP; without the section there is none."""

    listen: str


class SaeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[saes]]: an SAE of the network and the KME that serves it."""

    id: str
    kme: str


class LinkSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[links]]: a quantum link of this KME; the pair's smaller KME id runs its model.

    `model`: keys by closed-form rates, or distilled from simulated pulses (`pulse_production`).
    `peer_identity` is the URI SAN of the peer's certificate, by default spiffe://qkms.dev/kme/<peer>.
    """

    peer: str
    peer_address: str
    length_km: float
    pulse_rate_hz: float
    block_s: float = 0.2
    model: Literal["rates", "pulses"] = "rates"
    peer_identity: str = ""

    def identity(self) -> str:
        """The URI SAN that the peer's certificate must carry."""
        return self.peer_identity or f"spiffe://qkms.dev/kme/{self.peer}"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    kme: KmeSection
    tls: TlsSection
    keys: KeysSection = KeysSection()
    skip: SkipSection | None = None
    saes: list[SaeSection] = []
    links: list[LinkSection] = []
    network: NetworkSection | None = None
    quotas: list[QuotaSection] = []

    def kme_of(self, sae: str) -> str | None:
        """The KME that serves this SAE; None for an SAE unknown to the network."""
        return next((entry.kme for entry in self.saes if entry.id == sae), None)


def read_settings(path: Path) -> Settings:
    """The settings in this TOML file. Raises SettingsError."""
    return parse_settings(read_bytes(path))


def parse_settings(text: bytes) -> Settings:
    """The settings in this TOML text (UTF-8). Raises SettingsError."""
    settings = decoded_toml(text, Settings)
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Raises SettingsError for the first field that is wrong."""
    for field, problem in _problems(settings):
        raise SettingsError(field, problem)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" (IPv6 in brackets). Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"must be host:port with a port from 1 to 65535, not {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _problems(settings: Settings) -> Iterator[tuple[str, str]]:
    yield from _kme_problems(settings)
    yield from _key_problems(settings.keys)
    yield from _sae_problems(settings)
    yield from _link_problems(settings)
    yield from quota_problems(settings.quotas)
    if settings.network is not None:
        peers = {link.peer for link in settings.links}
        yield from network_problems(settings.network, settings.kme.id, peers)


def _kme_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    kme = settings.kme
    yield from _name_problems("kme.id", kme.id)
    yield from _address_problems("kme.listen", kme.listen)
    yield from _address_problems("kme.link_listen", kme.link_listen)
    if kme.listen == kme.link_listen:
        yield "kme.link_listen", "must differ from kme.listen"
    if settings.skip is not None:
        yield from _address_problems("skip.listen", settings.skip.listen)
        if settings.skip.listen in (kme.listen, kme.link_listen):
            yield "skip.listen", "must differ from kme.listen and kme.link_listen"
    if not kme.data_dir:
        yield "kme.data_dir", "must name a directory"


def _key_problems(keys: KeysSection) -> Iterator[tuple[str, str]]:
    for name in ("size_bits", "min_size_bits", "max_size_bits"):
        size = getattr(keys, name)
        if size < 8 or size % 8:
            yield f"keys.{name}", f"must be a positive multiple of 8 bits, not {size}"
    if not keys.min_size_bits <= keys.size_bits <= keys.max_size_bits:
        yield "keys.size_bits", "must lie between keys.min_size_bits and keys.max_size_bits"
    if keys.max_size_bits > 65_536:
        yield "keys.max_size_bits", "must be at most 65536"
    if not 1 <= keys.max_stored <= 100_000:
        yield "keys.max_stored", f"must be from 1 to 100000, not {keys.max_stored}"
    if not 1 <= keys.max_per_request <= 1024:
        yield "keys.max_per_request", f"must be from 1 to 1024, not {keys.max_per_request}"
    if not 0 < keys.max_qber <= MAX_QBER:
        yield "keys.max_qber", f"must be above 0 and at most {MAX_QBER}, not {keys.max_qber}"
    if not _positive(keys.max_uncollected_s):
        yield "keys.max_uncollected_s", "must be a positive number of seconds"


def _sae_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    ids: set[str] = set()
    for i, sae in enumerate(settings.saes):
        yield from _name_problems(f"saes[{i}].id", sae.id)
        yield from _name_problems(f"saes[{i}].kme", sae.kme)
        if sae.id in ids:
            yield f"saes[{i}].id", f"{sae.id!r} is listed twice"
        ids.add(sae.id)


def _link_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    peers: set[str] = set()
    for i, link in enumerate(settings.links):
        at = f"links[{i}]"
        yield from _name_problems(f"{at}.peer", link.peer)
        yield from _address_problems(f"{at}.peer_address", link.peer_address)
        if link.peer == settings.kme.id:
            yield f"{at}.peer", "is this KME itself"
        if link.peer in peers:
            yield f"{at}.peer", f"{link.peer!r} is listed twice; one link per peer"
        peers.add(link.peer)
        if not (link.length_km >= 0 and math.isfinite(link.length_km)):
            yield f"{at}.length_km", f"must be a length of 0 km or more, not {link.length_km}"
        if not _positive(link.pulse_rate_hz):
            yield f"{at}.pulse_rate_hz", f"must be a positive number of hertz, not {link.pulse_rate_hz}"
        if not 0.01 <= link.block_s <= 60:
            yield f"{at}.block_s", f"must be from 0.01 to 60 seconds, not {link.block_s}"


def _name_problems(field: str, name: str) -> Iterator[tuple[str, str]]:
    if not _NAME.match(name):
        yield field, f"must be 1 to 128 letters, digits and ._:@/- with a letter or digit first, not {name!r}"


def _address_problems(field: str, address: str) -> Iterator[tuple[str, str]]:
    try:
        split_address(address)
    except ValueError as error:
        yield field, str(error)


def _positive(value: float) -> bool:
    return value > 0 and math.isfinite(value)
