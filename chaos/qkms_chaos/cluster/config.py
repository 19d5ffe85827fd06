"""The configuration of each member as a TOML table, and writing it down.

The tables are pure functions of layout, network and overrides. An override is
a table laid over the generated one, field by field; a list replaces a list, and
None takes a field or section out.
"""

from collections.abc import Mapping
from pathlib import Path

import tomli_w

from qkms_chaos.cluster.layout import CLUSTER_ID, OPERATOR, Layout
from qkms_chaos.cluster.network import HOST, Network
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


def node_table(layout: Layout, network: Network, node: str, tls: Material) -> Table:
    """What `qkms-node serve --config` reads."""
    site = layout.site(node)
    home = layout.home(node).absolute()
    return {
        "node": {"id": node, "data_dir": str(home / "data")},
        "cluster": {
            "id": CLUSTER_ID,
            "members": [
                {
                    "id": other,
                    "raft_address": network.raft(node, other),
                    "rpc_address": network.rpc(other),
                    "sae_id": other,
                }
                for other in layout.nodes
            ],
        },
        "raft": {"listen": f"{HOST}:{site.raft_port}"},
        "rpc": {"listen": f"{HOST}:{site.rpc_port}"},
        "tls": tls.table(),
        "seal": {"mode": "keyfile", "key_file": str(home / "seal.key")},
        "qkd": {"kme_id": site.kme, "kme_url": f"https://{network.etsi014(node, site.kme)}"},
        "root": {"policy": "require_qkd"},
        "access": {
            "admin": [OPERATOR_IDENTITY.uri],
            "rules": [
                {"principals": [Identity("service", "*").uri], "actions": SERVICE_ACTIONS, "keys": ["*"]},
                {"principals": [Identity("operator", "*").uri], "actions": ["*"], "keys": ["*"]},
            ],
        },
    }


def kme_table(layout: Layout, network: Network, kme: str, tls: Material) -> Table:
    """What `qkms-kme serve --config` reads."""
    site = layout.site(kme)
    return {
        "kme": {
            "id": kme,
            "listen": f"{HOST}:{site.etsi014_port}",
            "link_listen": f"{HOST}:{site.link_port}",
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
    """Writes the configuration of every member and the client profiles, with their certificates."""
    for site in layout.sites:
        node = node_table(layout, network, site.node, authority.issue(Identity("node", site.node)))
        kme = kme_table(layout, network, site.kme, authority.issue(Identity("kme", site.kme)))
        _write(layout.config(site.node), overlaid(node, overrides, EVERY_NODE, site.node))
        _write(layout.config(site.kme), overlaid(kme, overrides, EVERY_KME, site.kme))
    _write(layout.profile, profile_table(layout, network, authority.issue(OPERATOR_IDENTITY)))
    for service in layout.services:
        tls = authority.issue(Identity("service", service))
        _write(layout.service_profile(service), profile_table(layout, network, tls))


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
