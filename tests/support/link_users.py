"""Another user of a node's QKD link, as the node's own SAE: what it takes from the store the node does not get."""

from qkms_chaos.cluster.world import World
from qkms_node.config import load
from qkms_qkd.link import Link
from qkms_qkd.opening import LinkSource, open_link
from qkms_qkd.tls import TlsFiles


def open_beside(world: World, node: str, peer: str) -> Link:
    """A link of its own from `node` to `peer`, over the KME of `node`."""
    config = load(world.cluster.layout.config(node))
    assert config.qkd is not None
    [kme] = config.qkd.sources
    assert kme.kme_url is not None
    source = LinkSource(
        protocol="etsi014",
        kme_id=kme.kme_id,
        place=kme.kme_url,
        tls=TlsFiles(config.tls.ca, config.tls.certificate, config.tls.private_key),
        timeout_s=5.0,
        kme_identity=f"spiffe://{config.tls.trust_domain}/kme/{kme.kme_id}",
    )
    return open_link(source, node, peer)
