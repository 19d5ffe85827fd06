"""Over several nodes: an epoch has the QBER of its links, and keys with a bound are kept from it."""

from pathlib import Path

import pytest
from tests.unit.qkms_node.roots.test_epochs_move_on import MATERIAL, create, material, rotate, turns, version
from tests.unit.qkms_node.roots.test_relayed_epochs import lose_store
from tests.unit.qkms_node.service.test_seeding import NODES, Cluster

from qkms_node.keys.grade import Grade
from qkms_node.ledger.records import QBER_UNTOLD, EpochState


@pytest.mark.parametrize(("told", "noted"), [(0.021, 0.021), (None, QBER_UNTOLD)])
async def test_an_epoch_has_the_qber_of_its_links(tmp_path: Path, told: float | None, noted: float) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.qber = told
    await turns(cluster, 4)
    root = cluster.root(1)
    assert (cluster.active, root.grade, root.qber) == (1, Grade.QKD_PQC, noted)
    assert {share.qber for share in root.shares.values()} == {noted}
    cluster.fibre.qber = 0.01
    rotate(cluster)
    await turns(cluster, 4)
    assert (cluster.active, cluster.root(2).qber) == (2, 0.01), "what was before its keys were distilled is past"


async def test_an_epoch_without_qkd_has_no_qber(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "pqc_only")
    await turns(cluster, 4)
    assert (cluster.root(1).grade, cluster.root(1).qber) == (Grade.PQC, 0)


async def test_a_version_waits_for_an_epoch_within_the_bound_of_its_key(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.qber = 0.01
    await turns(cluster, 4)
    create(cluster, "bound", max_qber=0.02)
    create(cluster, "any")
    cluster.fibre.qber = 0.021
    rotate(cluster)
    await turns(cluster, 10)
    assert (version(cluster, "bound").epoch, version(cluster, "any").epoch) == (1, 2)
    assert cluster.root(1).state is EpochState.RETIRED
    assert {material(cluster, node, "bound") for node in NODES} == {MATERIAL}, "it is used as before"
    cluster.fibre.qber = 0.02
    rotate(cluster)
    await turns(cluster, 10)
    assert {version(cluster, key_id).epoch for key_id in ("bound", "any")} == {3}
    assert (version(cluster, "bound").qber, version(cluster, "any").qber) == (0.02, 0.021)


@pytest.mark.parametrize("max_qber", [0.015, 0.05])
async def test_a_lost_root_travels_over_a_worse_link_only_if_no_key_minds(tmp_path: Path, max_qber: float) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.qber = 0.01
    await turns(cluster, 4)
    create(cluster, "payments", max_qber=max_qber)
    cluster.fibre.qber = 0.018
    before = cluster.root(1).shares["node-3"]
    lose_store(cluster, "node-3")
    await turns(cluster, 8)
    root = cluster.root(1)
    if max_qber > cluster.fibre.qber:
        assert cluster.sites["node-3"].roots.holds(root)
        assert root.qber == 0.018
        return
    assert (root.qber, root.shares["node-3"]) == (0.01, before), "such a share is not even proposed"
    assert "with a QBER of 1.80%, and keys under the epoch refuse that" in cluster.sites["node-1"].sharing.waiting
    cluster.fibre.qber = 0.015
    await turns(cluster, 20)
    assert cluster.sites["node-3"].roots.holds(cluster.root(1))
    assert not cluster.sites["node-1"].sharing.waiting
