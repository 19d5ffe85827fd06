"""A whole network of KMEs in one TOML file: sites, links between them, and what they share. Pure but for reading.

Each site's `Settings` follow from it: a link is a [[links]] entry at both of its sites, and part of the map at
all others. `{site}` in a path stands for the site's id. Errors name the field of this file where they can.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from qkms_qkd.identity import SaeIdentity
from qkms_qkd.kme.network.section import NetworkSection
from qkms_qkd.kme.quotas import QuotaSection
from qkms_qkd.kme.settings import (
    KeysSection,
    KmeSection,
    LinkSection,
    SaeSection,
    Settings,
    SkipSection,
    TlsSection,
    check_settings,
)
from qkms_qkd.kme.toml_files import SettingsError, decoded_toml, read_bytes


class SiteSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[sites]]: a KME, its listeners (host:port) and the SAEs it serves."""

    id: str
    listen: str
    link_listen: str
    skip_listen: str | None = None
    saes: list[str] = []


class SpanSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[links]]: a quantum link between two sites, otherwise as in a KME's own file."""

    sites: tuple[str, str]
    length_km: float
    pulse_rate_hz: float
    block_s: float = 0.2
    model: Literal["rates", "pulses"] = "rates"


class RelayingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[relaying]: as in a KME's [network]."""

    disjoint_routes: int = 1
    max_relays: int = 4
    max_additional: int = 8


class NetworkFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. Without [relaying] keys go over single links only."""

    data_dir: str
    tls: TlsSection
    sites: list[SiteSection]
    links: list[SpanSection] = []
    admins: list[str] = []
    sae_identity: SaeIdentity = "cn"
    keys: KeysSection = KeysSection()
    relaying: RelayingSection | None = None
    quotas: list[QuotaSection] = []

    def names(self) -> list[str]:
        """The sites, as the file orders them."""
        return [site.id for site in self.sites]

    def settings(self, name: str) -> Settings:
        """What the KME of this site runs by. Raises SettingsError."""
        by_name = {site.id: site for site in self.sites}
        if name not in by_name:
            raise SettingsError("sites", f"{name!r} is not among them: {', '.join(by_name)}")
        site = by_name[name]
        settings = Settings(
            kme=KmeSection(
                id=name,
                listen=site.listen,
                link_listen=site.link_listen,
                data_dir=_filled(self.data_dir, name),
                sae_identity=self.sae_identity,
                admins=self.admins,
            ),
            tls=TlsSection(
                ca=_filled(self.tls.ca, name),
                certificate=_filled(self.tls.certificate, name),
                private_key=_filled(self.tls.private_key, name),
            ),
            keys=self.keys,
            skip=SkipSection(listen=site.skip_listen) if site.skip_listen else None,
            saes=[SaeSection(id=sae, kme=each.id) for each in self.sites for sae in each.saes],
            links=[self._end(link, name, by_name) for link in self.links if name in link.sites],
            network=self._network(name),
            quotas=self.quotas,
        )
        check_settings(settings)
        return settings

    def _end(self, link: SpanSection, name: str, sites: dict[str, SiteSection]) -> LinkSection:
        peer = link.sites[link.sites[0] == name]
        return LinkSection(
            peer=peer,
            peer_address=sites[peer].link_listen,
            length_km=link.length_km,
            pulse_rate_hz=link.pulse_rate_hz,
            block_s=link.block_s,
            model=link.model,
        )

    def _network(self, name: str) -> NetworkSection | None:
        if self.relaying is None:
            return None
        return NetworkSection(
            links=[link.sites for link in self.links if name not in link.sites],
            disjoint_routes=self.relaying.disjoint_routes,
            max_relays=self.relaying.max_relays,
            max_additional=self.relaying.max_additional,
        )


def read_network(path: Path) -> NetworkFile:
    """The network in this file, every site of which has settings. Raises SettingsError."""
    return parse_network(read_bytes(path))


def parse_network(text: bytes) -> NetworkFile:
    """The network in this TOML text (UTF-8). Raises SettingsError."""
    network = decoded_toml(text, NetworkFile)
    for field, problem in _problems(network):
        raise SettingsError(field, problem)
    for name in network.names():
        try:
            network.settings(name)
        except SettingsError as error:
            raise SettingsError(f"site {name}: {error.field}", error.problem) from None
    return network


def _problems(network: NetworkFile) -> Iterator[tuple[str, str]]:
    names = network.names()
    if not names:
        yield "sites", "must name at least one"
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f"sites[{i}].id", f"{name!r} is listed twice"
    for i, link in enumerate(network.links):
        for name in link.sites:
            if name not in names:
                yield f"links[{i}].sites", f"{name!r} is not among the sites"
        if link.sites[0] == link.sites[1]:
            yield f"links[{i}].sites", f"joins {link.sites[0]!r} to itself"
        if frozenset(link.sites) in [frozenset(other.sites) for other in network.links[:i]]:
            yield f"links[{i}].sites", "is a link that is there already"
    if len(names) > 1 and "{site}" not in network.data_dir:
        yield "data_dir", "must contain {site}: each KME has a folder of its own"


def _filled(path: str, name: str) -> str:
    return path.replace("{site}", name)
