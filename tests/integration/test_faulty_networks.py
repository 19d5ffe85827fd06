"""The networks of chaos experiments do what they say, before real nodes: cuts, resets, limits, delays, healing."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.integration.conftest import MakeWorld

from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_chaos.faults import namespaces
from qkms_chaos.faults.network import CLIENTS, FaultyNetwork, Unsupported, between
from qkms_chaos.faults.opening import NETWORKS
from qkms_client.errors import QkmsError
from qkms_client.types import LinkState

pytestmark = pytest.mark.cluster

WAITS_S = 20.0


@contextmanager
def standing(make_world: MakeWorld, kind: str) -> Iterator[tuple[World, FaultyNetwork]]:
    """A cluster on this network."""
    networks: list[FaultyNetwork] = []

    def network(layout: object) -> FaultyNetwork:
        networks.append(NETWORKS[kind](layout))  # type: ignore[arg-type]
        return networks[0].__enter__()

    try:
        with make_world(network=network) as world:
            world.observer.wait_root(1)
            yield world, networks[0]
    finally:
        for one in networks:
            one.__exit__(None, None, None)


@pytest.mark.parametrize("kind", NETWORKS)
def test_faults_come_and_go(make_world: MakeWorld, kind: str) -> None:
    if kind == "netns" and (why := namespaces.unavailable()):
        pytest.skip(why)
    with standing(make_world, kind) as (world, network):
        leader = world.observer.wait_leader()
        others = world.others(leader)
        network.cut(between([leader], others))
        second = world.observer.wait_leader(others)
        world.payments.create_key("meanwhile")
        network.heal()
        world.observer.wait_agreement()

        # What it says is heard by nobody, while it hears the others.
        network.cut([(second, other) for other in world.others(second)])
        third = world.observer.wait_leader(world.others(second))
        assert third != second
        network.heal()
        world.observer.wait_agreement()

        network.reset(between(world.nodes, world.nodes))
        network.limit(between(world.nodes, world.nodes), 200)
        world.payments.create_key("afterwards")
        network.heal()

        network.cut([(CLIENTS, third)])
        with pytest.raises(QkmsError):
            world.operator.status(node=third, timeout=1.0)
        network.heal()
        world.observer.wait_agreement()
        network.cut([(third, world.cluster.layout.site(third).kme)])
        wait_for("its links to be down", lambda: see_links_down(world, third), WAITS_S)
        network.heal()
        if kind == "netns":
            with pytest.raises(Unsupported, match="netem"):
                network.slow(between(world.nodes, world.nodes), 15)
        else:
            network.slow(between(world.nodes, world.nodes), 15)
            world.payments.create_key("slowly")
            network.heal()


def see_links_down(world: World, node: str) -> None:
    states = [link.state for link in world.observer.links(node)]
    if not states or LinkState.UP in states:
        raise NotYet(str(states))
