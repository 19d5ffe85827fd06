"""The configuration of each member as a TOML table, and writing it down.

The tables are pure functions of layout, network and overrides. An override is
a table laid over the generated one, field by field; a list replaces a list, and
None takes a field or section out.
"""

import secrets
import tomllib
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import tomli_w

from qkms_chaos.cluster.layout import CLUSTER_ID, OPERATOR, Layout
from qkms_chaos.cluster.network import HOST, Network
from qkms_node.ca import encrypt_key
from qkms_node.pki import Authority, Identity, Material

Table = dict[str, object]
Overrides = Mapping[str, Mapping[str, object]]

# Overrides under this name are for every node.
EVERY_NODE = "node"
EVERY_KME = "kme"

# A metropolitan link: about 75 kbit/s of secret key by the decoy-state model.
LINK_LENGTH_KM = 25.0
PULSE_RATE_HZ = 1.0e8

OPERATOR_IDENTITY = Identity("operator", OPERATOR)

SERVICE_ACTIONS = ["keys.*", "crypto.*", "sessions.*", "cluster.status", "links.list"]


# Two encryptors, for whoever tries the northbound faces (docs/northbound.md).
ENCRYPTORS = (Identity("sae", "a"), Identity("sae", "b"))
ENCRYPTOR_ACTIONS = ["northbound.draw", "northbound.collect", "northbound.entropy"]


def node_table(layout: Layout, network: Network, node: str, tls: Material) -> Table:
    """What `qkms-node serve --config` reads."""
    site = layout.site(node)
    home = layout.home(node).absolute()
    table: Table = {
        "node": {"id": node, "data_dir": str(home / "data")},
        "cluster": {
            "id": CLUSTER_ID,
            "members": [
                {
                    "id": other,
                    "raft_address": f"{network.host(other)}:{layout.site(other).raft_port}",
                    "rpc_address": network.rpc(other),
                    "sae_id": other,
                }
                for other in layout.nodes
            ],
        },
        "raft": {
            "listen": f"{network.host(node)}:{site.raft_port}",
            # The log has one address of each member for all; what stands between two of them is theirs.
            "dial": {other: network.raft(node, other) for other in layout.nodes if other != node},
        },
        "rpc": {"listen": f"{network.host(node)}:{site.rpc_port}"},
        "tls": tls.table(),
        "seal": {"mode": "keyfile", "key_file": str(home / "seal.key")},
        "qkd": {"kme_id": site.kme, "kme_url": f"https://{network.etsi014(node, site.kme)}"},
        "root": {"policy": "require_qkd"},
        "access": {
            "admin": [OPERATOR_IDENTITY.uri],
            "rules": [
                {"principals": [Identity("service", "*").uri], "actions": SERVICE_ACTIONS, "keys": ["*"]},
                {"principals": [Identity("operator", "*").uri], "actions": ["*"], "keys": ["*"]},
                {
                    "principals": [each.uri for each in ENCRYPTORS],
                    "actions": ENCRYPTOR_ACTIONS,
                    "keys": [f"saePairs/{a.common_name}/{b.common_name}" for a, b in permutations(ENCRYPTORS, 2)],
                },
            ],
        },
        "enrol": {"listen": f"{network.host(node)}:{site.enrol_port}"},
    }
    if site.northbound_port:
        table["northbound"] = {
            "saes": [Identity("sae", "*").common_name],
            "etsi014": {"listen": f"{network.host(node)}:{site.northbound_port}"},
            "skip": {"listen": f"{network.host(node)}:{site.northbound_skip_port}"},
        }
    if node in signing_nodes(layout):
        table["ca"] = {"key_file": str(home / "ca.key"), "passphrase_file": str(home / "ca.passphrase")}
    return table


def signing_nodes(layout: Layout) -> tuple[str, ...]:
    """The nodes that hold the CA's key: two, so that one may be down, and not all, as few as may be."""
    return layout.nodes[:2]


def kme_table(layout: Layout, network: Network, kme: str, tls: Material) -> Table:
    """What `qkms-kme serve --config` reads."""
    site = layout.site(kme)
    return {
        "kme": {
            "id": kme,
            "listen": f"{network.host(kme)}:{site.etsi014_port}",
            "link_listen": f"{network.host(kme)}:{site.link_port}",
            "data_dir": str(layout.home(kme).absolute() / "data"),
            "sae_identity": "cn",
            "admins": [OPERATOR_IDENTITY.uri],
        },
        "tls": tls.table(),
        "saes": [{"id": s.node, "kme": s.kme} for s in layout.sites],
        "links": [
            {
                "peer": other.kme,
                "peer_address": network.kme_link(kme, other.kme),
                "length_km": LINK_LENGTH_KM,
                "pulse_rate_hz": PULSE_RATE_HZ,
            }
            for other in layout.sites
            if other.kme != kme
        ],
    }


def profile_table(layout: Layout, network: Network, tls: Material) -> Table:
    """What the SDK and the `qkms` command line read."""
    return {"endpoints": {node: network.rpc(node) for node in layout.nodes}, **tls.table()}


def write_all(layout: Layout, network: Network, authority: Authority, overrides: Overrides) -> None:
    """Writes the configuration of every founder and KME and the client profiles, with their certificates.

    A node that joins writes its own (`qkms-node join`).
    """
    for site in layout.sites:
        kme = kme_table(layout, network, site.kme, _issued(authority, network, Identity("kme", site.kme)))
        _write(layout.config(site.kme), overlaid(kme, overrides, EVERY_KME, site.kme))
    for name in layout.nodes:
        node = node_table(layout, network, name, _issued(authority, network, Identity("node", name)))
        _write(layout.config(name), overlaid(node, overrides, EVERY_NODE, name))
    for name in signing_nodes(layout):
        _hand_out_ca(layout.home(name), authority)
    _write(layout.profile, profile_table(layout, network, authority.issue(OPERATOR_IDENTITY)))
    for encryptor in ENCRYPTORS:
        authority.issue(encryptor)
    for service in layout.services:
        tls = authority.issue(Identity("service", service))
        _write(layout.service_profile(service), profile_table(layout, network, tls))


def _issued(authority: Authority, network: Network, identity: Identity) -> Material:
    """A member's certificate, good for where it listens and for where proxies before it do."""
    return authority.issue(identity, addresses=tuple(dict.fromkeys((HOST, network.host(identity.name)))))


def overlay_file(path: Path, overrides: Overrides, *names: str) -> None:
    """Lays the overrides under `names` over a configuration that is there already."""
    _write(path, overlaid(tomllib.loads(path.read_text()), overrides, *names))


def _hand_out_ca(home: Path, authority: Authority) -> None:
    """The CA's key for a node that may sign, encrypted under a passphrase of the node's own."""
    passphrase = home / "ca.passphrase"
    if not passphrase.exists():
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(32))
        encrypt_key(authority.key_path, home / "ca.key", passphrase.read_bytes())


def overlaid(table: Table, overrides: Overrides, *names: str) -> Table:
    """`table` with the overrides under `names` laid over it, in that order."""
    for name in names:
        table = _merged(table, overrides.get(name, {}))
    return table


def _merged(base: Mapping[str, object], over: Mapping[str, object]) -> Table:
    merged = dict(base)
    for field, value in over.items():
        under = merged.get(field)
        if value is None:
            merged.pop(field, None)
        elif isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[field] = _merged(under, value)
        else:
            merged[field] = value
    return merged


def _write(path: Path, table: Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(table))
