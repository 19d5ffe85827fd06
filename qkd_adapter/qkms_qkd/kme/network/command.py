"""`qkms-kme map`: a network file as people and programs read it: its links, and the routes between all sites."""

import argparse
import sys
from itertools import combinations
from pathlib import Path

import msgspec

from qkms_qkd.bb84.decoy import GYS, figures
from qkms_qkd.kme.network.file import NetworkFile, SpanSection, read_network
from qkms_qkd.kme.network.route import Route, relays
from qkms_qkd.kme.toml_files import SettingsError

DESCRIPTION = """\
Reads a network file and says what is wrong with it, or prints its links with the key rate that their length
allows, and for every two sites the disjoint routes that a key between them can take when every link is whole."""

EXAMPLE = """\
A network file (serve it with: qkms-kme serve --network FILE):

  data_dir = "var/{site}"          # {site} stands for the site's id, in [tls] as well
  admins = ["spiffe://qkms.dev/operator/admin"]

  [tls]
  ca = "pki/ca.pem"
  certificate = "pki/kme/{site}.pem"
  private_key = "pki/kme/{site}.key"

  [relaying]                       # left out: keys go over single links only
  disjoint_routes = 1

  [[sites]]
  id = "kme-1"
  listen = "127.0.0.1:9301"
  link_listen = "127.0.0.1:9401"
  saes = ["node-1"]
  # ... and the others

  [[links]]
  sites = ["kme-1", "kme-2"]
  length_km = 25.0
  pulse_rate_hz = 1.0e8

[keys] and [[quotas]] are those of a KME's own file (qkms-kme serve --help), and the same at every site."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("network", type=Path, metavar="FILE", help="TOML file, see below")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def map_command(options: argparse.Namespace) -> int:
    """Prints the map; 0, or 2 for a wrong file."""
    try:
        network = read_network(options.network)
    except SettingsError as error:
        print(f"qkms-kme: {options.network}: {error}", file=sys.stderr)
        return 2
    print(_as_json(network) if options.json else _as_text(network))
    return 0


def routes(network: NetworkFile) -> dict[tuple[str, str], list[Route]]:
    """For every two sites all disjoint routes, shortest first; those of one link only without [relaying]."""
    # Brings networkx, which takes as long to import as all the rest.
    from qkms_qkd.kme.network.topology import Topology

    topology = Topology(frozenset(link.sites) for link in network.links)
    most = len(network.sites)
    longest = network.relaying.max_relays if network.relaying else 0
    return {(a, b): topology.routes(a, b, most, longest) for a, b in combinations(network.names(), 2)}


def _rate_bps(link: SpanSection) -> float:
    return figures(link.length_km, GYS, 0.0).rate_vacuum_weak * link.pulse_rate_hz


def _as_json(network: NetworkFile) -> str:
    report = {
        "sites": {site.id: site.saes for site in network.sites},
        "links": [
            {"sites": link.sites, "length_km": link.length_km, "skr_bps": _rate_bps(link)}
            for link in network.links
        ],
        "routes": [{"sites": pair, "routes": found} for pair, found in routes(network).items()],
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def _as_text(network: NetworkFile) -> str:
    lines = [f"{site.id}: {', '.join(site.saes) or 'no SAEs'}" for site in network.sites]
    lines.append("")
    lines += [
        f"{link.sites[0]} ═══ {link.sites[1]}   {link.length_km:g} km, {_rate_bps(link):,.0f} bit/s"
        for link in network.links
    ]
    lines.append("")
    wanted = network.relaying.disjoint_routes if network.relaying else 1
    for (one, other), found in routes(network).items():
        shown = "; ".join(f"by {' - '.join(relays(route))}" if relays(route) else "direct" for route in found)
        direct = bool(found) and not relays(found[0])
        lines.append(f"{one} to {other}: {shown or 'no route'}{_warning(len(found), wanted, direct)}")
    return "\n".join(lines)


def _warning(found: int, wanted: int, direct: bool) -> str:
    if found >= wanted:
        return ""
    return f"  ({found} of {wanted} disjoint routes: {'a relayed key' if direct else 'every key'} is refused)"
