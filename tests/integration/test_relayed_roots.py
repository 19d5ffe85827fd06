"""A cluster whose KMEs stand in a ring: whoever leads has no link to the node opposite."""

import re
import tomllib
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner
from tests.integration.conftest import MakeWorld

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.access_types import AuditChain
from qkms_client.cli.main import main
from qkms_client.errors import QberTooHigh, RelaysRefused, RootNotReady
from qkms_client.types import Grade

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

STRICT = {
    "node": {"qkd": {"poll_ms": 300, "timeout_ms": 5_000}, "root": {"policy": "require_qkd", "retry_ms": 300}}
}
RING = ("kme-1", "kme-2", "kme-3", "kme-4")
WAITS_S = 30.0


def edited(path: Path, section: str, **values: object) -> None:
    table = tomllib.loads(path.read_text())
    table.setdefault(section, {}).update(values)
    path.write_text(tomli_w.dumps(table))


def in_a_ring(cluster: Cluster) -> None:
    """Leaves each KME the links to its two neighbours, and lets keys be relayed."""
    joined = [{RING[i - 1], RING[i]} for i in range(len(RING))]
    for kme in cluster.kmes:
        path = cluster.layout.config(kme)
        table = tomllib.loads(path.read_text())
        table["links"] = [link for link in table["links"] if {kme, link["peer"]} in joined]
        table["network"] = {"links": [sorted(pair) for pair in joined if kme not in pair]}
        path.write_text(tomli_w.dumps(table))


def wait_seeding(world: World, word: str) -> None:
    def probe() -> None:
        said = {node: status.seeding for node, status in world.observer.statuses().items()}
        if not any(word in text for text in said.values()):
            raise NotYet(str(said))

    wait_for(f"a node to wait because of {word}", probe, WAITS_S)


def printed(world: World, *command: str) -> str:
    return CliRunner().invoke(main, [*command, "--profile", str(world.cluster.layout.profile)]).output


def test_relayed_keys_seed_a_root_only_where_the_operator_allows_it(make_world: MakeWorld) -> None:
    with make_world(nodes=len(RING), overrides=STRICT, prepared=in_a_ring) as world:
        wait_seeding(world, "who knows it; allow relays")
        with pytest.raises(RootNotReady):
            world.payments.create_key("early", timeout=2)

        nodes = world.cluster.nodes
        for node in nodes:
            world.cluster.member(node).terminate()
            edited(world.cluster.layout.config(node), "qkd", allow_relays=True)
        world.cluster.start_members(nodes)
        seen = world.observer.wait_root(1, Grade.QKD_PQC)
        assert {status.root.grade for status in seen.values() if status.root} == {Grade.QKD_PQC}
        named = {status.root.relays for status in seen.values() if status.root}
        assert len(named) == 1, "every node says the same"
        assert set().union(*named) < set(RING)
        assert set().union(*named)
        assert "QKD keys of the root have passed kme-" in printed(world, "status")
        assert re.search(r"QKD\+PQC .* kme-\d", printed(world, "root", "show"))
        with pytest.raises(RelaysRefused, match="root epoch 1 have passed kme-"):
            world.payments.create_key("direct", refuse_relays=True)
        assert world.payments.create_key("later").primary_version == 1
        [version] = world.payments.list_versions("later")
        assert version.relayed
        assert 0.005 < version.qber < 0.05, "every KME on the way tells the QBER of its links"
        with pytest.raises(QberTooHigh, match=r"0.10% at most, and that of the links .* was \d\.\d\d%"):
            world.payments.create_key("strict", max_qber=0.001)
        assert world.payments.create_key("lenient", max_qber=0.05).max_qber == 0.05
        audited = {(r.method, r.resource) for r in world.operator.query_audit(AuditChain.MUTATIONS)}
        assert ("root_relayed", "rootEpochs/1") in audited
