"""X25519MLKEM768 is what client and node agree on, and node and KME where both can."""

from collections.abc import Callable

import pytest

from qkms_chaos.cluster.world import World
from qkms_chaos.wiretap import X25519, X25519MLKEM768, Wiretap, negotiated_group
from qkms_client import AsyncClient, Client, Profile
from qkms_node.pki import Identity
from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.tls import hybrid_group_available

pytestmark = pytest.mark.cluster


def profile_through(world: World, address: str) -> Profile:
    files = world.cluster.authority.issue(Identity("service", "payments"))
    return Profile({"node-1": address}, files.ca, files.certificate, files.private_key)


def test_client_and_node(healthy: World, new_key_id: Callable[[], str]) -> None:
    with Wiretap(("127.0.0.1", healthy.cluster.layout.site("node-1").rpc_port)) as tap:
        with Client(profile_through(healthy, tap.address)) as client:
            client.create_key(new_key_id())
        assert tap.recordings
        assert {negotiated_group(r.from_server) for r in tap.recordings} == {X25519MLKEM768}


async def test_async_client_and_node(healthy: World, new_key_id: Callable[[], str]) -> None:
    with Wiretap(("127.0.0.1", healthy.cluster.layout.site("node-1").rpc_port)) as tap:
        async with AsyncClient(profile_through(healthy, tap.address)) as client:
            await client.create_key(new_key_id())
        assert {negotiated_group(r.from_server) for r in tap.recordings} == {X25519MLKEM768}


async def test_node_and_kme(healthy: World) -> None:
    site = healthy.cluster.layout.site("node-1")
    node = healthy.cluster.authority.issue(Identity("node", "node-1"))
    with Wiretap(("127.0.0.1", site.etsi014_port)) as tap:
        link = Etsi014Link(
            kme_id=site.kme,
            url=f"https://{tap.address}",
            local_sae="node-1",
            peer_sae="node-2",
            ca=node.ca,
            certificate=node.certificate,
            private_key=node.private_key,
        )
        assert (await link.status()).peer_sae == "node-2"
        await link.close()
        expected = X25519MLKEM768 if hybrid_group_available() else X25519
        assert negotiated_group(tap.recordings[0].from_server) == expected
