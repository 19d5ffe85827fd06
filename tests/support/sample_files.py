"""Configuration files that are in order: of a node with a KME, and of a KME."""

NODE_TOML = """
[node]
id = "node-1"
data_dir = "data"
[cluster]
id = "dev"
[[cluster.members]]
id = "node-1"
raft_address = "127.0.0.1:9101"
rpc_address = "127.0.0.1:9201"
sae_id = "node-1"
[[cluster.members]]
id = "node-2"
raft_address = "127.0.0.1:9102"
rpc_address = "127.0.0.1:9202"
sae_id = "node-2"
[raft]
listen = "127.0.0.1:9101"
[rpc]
listen = "127.0.0.1:9201"
[tls]
ca = "ca.pem"
certificate = "node.pem"
private_key = "node.key"
[seal]
mode = "keyfile"
key_file = "seal.key"
[qkd]
kme_id = "kme-1"
kme_url = "https://127.0.0.1:9301"
[northbound]
saes = ["sae:*"]
[northbound.etsi014]
listen = "127.0.0.1:9501"
[[access.rules]]
principals = ["*"]
actions = ["keys.*"]
"""

KME_TOML = """
[kme]
id = "kme-1"
listen = "127.0.0.1:9301"
link_listen = "127.0.0.1:9401"
data_dir = "data"
sae_identity = "cn"
admins = ["spiffe://qkms.dev/operator/admin"]
[tls]
ca = "ca.pem"
certificate = "kme.pem"
private_key = "kme.key"
[keys]
size_bits = 256
[[saes]]
id = "node-1"
kme = "kme-1"
[[links]]
peer = "kme-2"
peer_address = "127.0.0.1:9402"
length_km = 25
pulse_rate_hz = 1.0e8
"""

NETWORK_TOML = """
data_dir = "data/{site}"
admins = ["spiffe://qkms.dev/operator/admin"]
[tls]
ca = "ca.pem"
certificate = "{site}.pem"
private_key = "{site}.key"
[relaying]
disjoint_routes = 2
[[sites]]
id = "kme-1"
listen = "127.0.0.1:9301"
link_listen = "127.0.0.1:9401"
skip_listen = "127.0.0.1:9501"
saes = ["node-1"]
[[sites]]
id = "kme-2"
listen = "127.0.0.1:9302"
link_listen = "127.0.0.1:9402"
saes = ["node-2", "node-4"]
[[sites]]
id = "kme-3"
listen = "127.0.0.1:9303"
link_listen = "127.0.0.1:9403"
[[links]]
sites = ["kme-1", "kme-2"]
length_km = 25
pulse_rate_hz = 1.0e8
[[links]]
sites = ["kme-3", "kme-2"]
length_km = 50
pulse_rate_hz = 1.0e8
"""
