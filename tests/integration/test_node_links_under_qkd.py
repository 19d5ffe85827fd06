"""Raft traffic of real nodes under QKD keys: by itself, over a restart, and as the condition of all traffic."""

import json

import pytest
from click.testing import CliRunner
from tests.integration.conftest import MakeWorld

from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.cli.main import main

pytestmark = pytest.mark.cluster

WAITS_S = 30.0


def see(world: World, wanted: dict[str, set[str]]) -> None:
    """Returns when each of these nodes has all its traffic with exactly these others under QKD keys."""

    def check() -> None:
        for node, peers in wanted.items():
            members = world.operator.list_members(node)
            found = {m.id for m in members if m.qkd_sealed}
            connected = {m.id for m in members if m.connected and m.qkd_sealed is not None}
            if found != peers:
                raise NotYet(f"{node}: under QKD keys with {sorted(found)}, connected to {sorted(connected)}")

    wait_for("the links between the nodes", check, WAITS_S)


def everybody(world: World) -> dict[str, set[str]]:
    return {node: set(world.others(node)) for node in world.nodes}


def test_links_take_up_qkd_keys_by_themselves_and_again_after_a_restart(healthy: World) -> None:
    see(healthy, everybody(healthy))
    node = healthy.others(healthy.observer.wait_leader())[0]
    healthy.cluster.nodes[node].kill()
    healthy.cluster.start_members([node])
    see(healthy, everybody(healthy))
    shown = CliRunner().invoke(
        main, ["cluster", "members"], env={"QKMS_PROFILE": str(healthy.cluster.layout.profile)}
    )
    assert shown.stdout.count("TLS+QKD") == 2, shown.output


def test_where_keys_are_required_a_member_without_one_is_not_talked_to(make_world: MakeWorld) -> None:
    strict = {"raft": {"link_keys": "require_qkd", "link_rekey_ms": 1_000}}
    with make_world(overrides={"node": strict}) as world:
        world.observer.wait_root(1)
        see(world, everybody(world))
        one, two, cut_off = world.nodes
        kme = world.cluster.layout.site(cut_off).kme
        others = [world.cluster.layout.site(node).kme for node in (one, two)]
        world.cluster.nodes[cut_off].kill()
        for other in others:
            world.cluster.kme_admin.cut(kme, other)
        world.cluster.start_members([cut_off])
        see(world, {one: {two}, two: {one}})
        world.payments.create_key("meanwhile")
        assert not any(m.connected for m in world.operator.list_members(one) if m.id == cut_off)
        for other in others:
            world.cluster.kme_admin.heal(kme, other)
        see(world, everybody(world))
        world.observer.wait_agreement()
        sealed = [json.loads(line) for line in world.logged().splitlines() if "consensus.link_sealed" in line]
        ids = [line["key_id"] for line in sealed]
        assert len(ids) > 6, "each direction's key is replaced every second"
        assert len(set(ids)) == len(ids), "no key was taken up twice without a flap between"
