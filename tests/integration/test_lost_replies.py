"""A reply lost on its way: the SDK asks again elsewhere, and what was done is not done twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from qkms_chaos.cluster.world import World
from qkms_chaos.wiretap import Wiretap
from qkms_client import Client, Profile
from qkms_node.pki import Identity

pytestmark = pytest.mark.cluster


@contextmanager
def client_through(world: World, tap: Wiretap, tapped: str, other: str) -> Iterator[Client]:
    """A client that knows two nodes: it asks the tapped one first, and the other after a second."""
    files = world.cluster.authority.issue(Identity("service", "payments"))
    profile = Profile(
        {tapped: tap.address, other: world.cluster.network.rpc(other)},
        files.ca,
        files.certificate,
        files.private_key,
        timeout_s=20,
        attempt_timeout_s=1,
    )
    with Client(profile) as client:
        yield client


@pytest.mark.parametrize("first", ["leader", "follower"])
def test_a_rotation_whose_reply_is_lost_takes_effect_once(
    healthy: World, new_key_id: Callable[[], str], first: str
) -> None:
    leader, key = healthy.observer.wait_leader(), new_key_id()
    followers = healthy.others(leader)
    tapped = leader if first == "leader" else followers[0]
    port = healthy.cluster.layout.site(tapped).rpc_port
    with (
        Wiretap(("127.0.0.1", port)) as tap,
        client_through(healthy, tap, tapped, followers[1]) as client,
    ):
        client.create_key(key)
        tap.deafen()
        rotation = client.rotate_key(key, expected_primary_version=1)
    assert rotation.replayed
    assert rotation.version.version == 2
    assert [v.version for v in healthy.payments.list_versions(key)] == [1, 2]


def test_a_creation_whose_reply_is_lost_is_not_called_a_conflict(
    healthy: World, new_key_id: Callable[[], str]
) -> None:
    leader, key = healthy.observer.wait_leader(), new_key_id()
    port = healthy.cluster.layout.site(leader).rpc_port
    with (
        Wiretap(("127.0.0.1", port)) as tap,
        client_through(healthy, tap, leader, healthy.others(leader)[0]) as client,
    ):
        client.create_key(new_key_id())
        tap.deafen()
        created = client.create_key(key)
    assert created.primary_version == 1
    assert created.replayed
