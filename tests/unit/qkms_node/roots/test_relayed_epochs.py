"""Over several nodes: an epoch names the relays its keys passed, and keys that refuse them are kept from it."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.unit.qkms_node.roots.test_epochs_move_on import (
    MATERIAL,
    create,
    material,
    propose,
    rotate,
    turns,
    version,
)
from tests.unit.qkms_node.service.test_seeding import NODES, Cluster

from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EpochState
from qkms_node.service import rewrapping

RELAYS = ("kme-9", "kme-7")
NAMED = ("kme-7", "kme-9")


def lose_store(cluster: Cluster, node: str) -> None:
    (cluster.folder / node / "roots.sealed").unlink()
    cluster.restart(node)


async def test_an_epoch_names_the_relays_that_its_keys_have_passed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.relays = RELAYS
    await turns(cluster, 4)
    root = cluster.root(1)
    assert (cluster.active, root.grade, root.relays) == (1, Grade.QKD_PQC, NAMED)
    assert {share.relays for share in root.shares.values()} == {NAMED}
    cluster.fibre.relays = ()
    rotate(cluster)
    await turns(cluster, 4)
    assert (cluster.active, cluster.root(2).relays) == (2, ())


async def test_relays_that_only_the_other_end_is_told_of_do_not_go_unnamed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.relays, cluster.fibre.untold = RELAYS, {"node-1"}
    await turns(cluster, 3)
    aborted = cluster.root(1)
    assert aborted.state is EpochState.ABORTED
    assert "passed kme-7, kme-9 by the KME of this node, which that of node-1 does not tell" in aborted.reason
    await turns(cluster, 4, leader="node-2")
    assert cluster.root(cluster.active).relays == NAMED, "a leader that is told of them goes on"


async def test_a_version_whose_key_refuses_relays_waits_for_an_epoch_without(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    create(cluster, "direct", refuse_relays=True)
    create(cluster, "any")
    cluster.fibre.relays = RELAYS
    rotate(cluster)
    await turns(cluster, 10)
    assert (version(cluster, "direct").epoch, version(cluster, "any").epoch) == (1, 2)
    assert cluster.root(1).state is EpochState.RETIRED
    assert {material(cluster, node, "direct") for node in NODES} == {MATERIAL}, "it is used as before"
    rotate(cluster)
    await turns(cluster, 10)
    assert (version(cluster, "direct").epoch, version(cluster, "any").epoch) == (1, 3)
    assert cluster.root(2).state is EpochState.DESTROYED, "what waits under one epoch keeps no other"
    cluster.fibre.relays = ()
    rotate(cluster)
    await turns(cluster, 10)
    assert {version(cluster, key_id).epoch for key_id in ("direct", "any")} == {4}
    assert {cluster.root(e).state for e in (1, 2, 3)} == {EpochState.DESTROYED}
    assert (version(cluster, "direct").relayed, version(cluster, "any").relayed) == (False, True)


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_lost_root_travels_over_relays_only_while_no_key_refuses(tmp_path: Path, refuses: bool) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    create(cluster, "payments", refuse_relays=refuses)
    cluster.fibre.relays = RELAYS
    before = cluster.root(1).shares["node-3"]
    lose_store(cluster, "node-3")
    await turns(cluster, 8)
    root = cluster.root(1)
    if not refuses:
        assert cluster.sites["node-3"].roots.holds(root)
        assert root.relays == NAMED
        return
    assert (root.relays, root.shares["node-3"]) == ((), before), "such a share is not even proposed"
    waiting = cluster.sites["node-1"].sharing.waiting
    assert "node-3 needs root epoch 1: QKD key q" in waiting
    assert "has passed kme-9, kme-7" in waiting
    assert "keys under the epoch refuse that" in waiting
    cluster.fibre.relays = ()
    await turns(cluster, 20)
    assert cluster.sites["node-3"].roots.holds(cluster.root(1))
    assert not cluster.sites["node-1"].sharing.waiting


async def test_what_waits_under_an_old_epoch_keeps_no_node_from_the_new_one(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    create(cluster, "payments", refuse_relays=True)
    cluster.fibre.relays = RELAYS
    rotate(cluster)
    await turns(cluster, 6)
    lose_store(cluster, "node-3")
    await turns(cluster, 12)
    site = cluster.sites["node-3"]
    assert (site.roots.holds(cluster.root(2)), site.roots.holds(cluster.root(1))) == (True, False)


def pass_relays(cluster: Cluster, epoch: int) -> None:
    """A share over relays that was on its way before anything refused them."""
    share = cluster.root(epoch).shares["node-3"]
    propose(cluster, c.RejectShare(epoch, "node-3", share.sealed, "lost"))
    again = replace(share, qkd_key_id=f"late-{epoch}", relays=("kme-7",))
    cluster.fibre.keys[again.qkd_key_id], cluster.fibre.passed[again.qkd_key_id] = bytes(32), again.relays
    propose(cluster, c.ReplaceShare(epoch, again))


async def test_a_lost_root_travels_over_relays_where_its_epoch_names_some_already(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    create(cluster, "payments", refuse_relays=True)
    pass_relays(cluster, 1)
    cluster.fibre.relays = RELAYS
    lose_store(cluster, "node-3")
    await turns(cluster, 8)
    assert cluster.sites["node-3"].roots.holds(cluster.root(1)), "there is nothing left to keep"


async def test_relays_that_come_during_a_rewrapping_stop_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "BATCH_VERSIONS", 1)
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    for number in range(4):
        create(cluster, f"key-{number}", refuse_relays=True)
    rotate(cluster)
    while {version(cluster, f"key-{n}").epoch for n in range(4)} == {1}:
        await turns(cluster, 1)
    moved = {n for n in range(4) if version(cluster, f"key-{n}").epoch == 2}
    assert len(moved) < 4
    pass_relays(cluster, 2)
    written: list[c.AnyCommand] = []
    apply = cluster.apply

    def noted(index: int, time_ms: int, command: bytes) -> bytes:
        written.append(c.decode_command(command))
        return apply(index, time_ms, command)

    monkeypatch.setattr(cluster, "apply", noted)
    await turns(cluster, 8)
    assert {n for n in range(4) if version(cluster, f"key-{n}").epoch == 2} == moved
    assert not [command for command in written if isinstance(command, c.RewrapVersions)]
    assert written, "the nodes went on"
