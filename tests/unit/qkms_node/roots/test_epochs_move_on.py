"""Over several nodes: epochs rotate by schedule, versions follow, old roots are erased; peers give a root back."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.unit.qkms_node.service.test_seeding import NODES, Cluster

from ledger_world import request
from qkms.kem import HybridPrivateKey
from qkms.recovery import handover, sealed_root
from qkms.sealed import open_sealed_to, seal_to
from qkms_node.errors import QkmsError
from qkms_node.keys.grade import Grade
from qkms_node.keys.secret import VersionSecret
from qkms_node.keys.version import VersionBinding, unwrap_version, wrap_version
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EpochState, OfferRecord, VersionRecord
from qkms_node.service import rewrapping
from qkms_node.service.proposing import Proposer

MATERIAL = bytes(range(32))


def propose(cluster: Cluster, command: c.AnyCommand) -> c.Outcome:
    outcome = c.decode_outcome(cluster.store.apply(0, cluster.now_ms, c.encode_command(command)))
    assert not outcome.code, outcome
    return outcome


def create(cluster: Cluster, key_id: str, *, refuse_relays: bool = False, max_qber: float = 0.0) -> None:
    """A key whose material is MATERIAL, wrapped by a site that holds the active root."""
    root = cluster.root(cluster.active)
    site = next(site for site in cluster.sites.values() if site.roots.holds(root))
    bound = VersionBinding(key_id, 1, "AES_256_GCM", root.epoch)
    wrapped = wrap_version(site.roots.kek(root), VersionSecret(MATERIAL), bound, secrets.token_bytes(12))
    new = c.NewVersion(1, root.epoch, wrapped, b"check")
    command = c.CreateKey(request(), key_id, "AES_256_GCM", 0, 30_000, {}, new)
    propose(cluster, replace(command, refuse_relays=refuse_relays, max_qber=max_qber))


def version(cluster: Cluster, key_id: str) -> VersionRecord:
    with cluster.store.view() as state:
        return state.versions[key_id, 1]


def material(cluster: Cluster, node: str, key_id: str) -> bytes:
    """The material as a node opens it."""
    record = version(cluster, key_id)
    kek = cluster.sites[node].roots.kek(cluster.root(record.epoch))
    bound = VersionBinding(key_id, 1, "AES_256_GCM", record.epoch)
    return bytes(unwrap_version(kek, record.wrapped, bound).reveal())


async def turns(cluster: Cluster, number: int, only: Sequence[str] = NODES, leader: str = "node-1") -> None:
    for _ in range(number):
        await cluster.turn(only=only, leader=leader)


def files_named(folder: Path, pattern: str) -> list[Path]:
    return list(folder.rglob(pattern))


def rotate(cluster: Cluster) -> None:
    propose(cluster, c.RequestRoot(request(), cluster.active))


async def test_versions_follow_a_new_epoch_and_the_old_root_is_erased_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "BATCH_VERSIONS", 2)
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    for number in range(5):
        create(cluster, f"key-{number}")
    rotate(cluster)
    await turns(cluster, 3)
    assert cluster.active == 2
    # Another leader goes on where the first one was.
    await turns(cluster, 1)
    await turns(cluster, 8, leader="node-2")
    assert {version(cluster, f"key-{n}").epoch for n in range(5)} == {2}
    assert {material(cluster, node, f"key-{n}") for node in NODES for n in range(5)} == {MATERIAL}
    assert cluster.root(1).state is EpochState.DESTROYED
    assert cluster.root(1).shares == {}
    assert [site.roots.open_epochs() for site in cluster.sites.values()] == [[2], [2], [2]]
    cluster.restart(*NODES)
    assert [site.roots.open_epochs() for site in cluster.sites.values()] == [[2], [2], [2]]
    with pytest.raises(QkmsError, match="not opened root epoch 1"):
        cluster.sites["node-1"].roots.kek(cluster.root(1))


async def test_an_epoch_that_a_session_needs_stays_until_the_session_has_ended(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    offer = OfferRecord(b"m", b"x", b"n")
    propose(cluster, c.OpenSession(request(), "s", "bob", 1, offer, 0, 3_600_000))
    rotate(cluster)
    await turns(cluster, 8)
    assert (cluster.active, cluster.root(1).state) == (2, EpochState.RETIRED)
    propose(cluster, c.CloseSession(request(), "s"))
    await turns(cluster, 3)
    assert cluster.root(1).state is EpochState.DESTROYED


async def test_a_version_never_moves_under_a_lower_grade(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "prefer_qkd")
    await turns(cluster, 4)
    create(cluster, "payments")
    cluster.fibre.down = {"node-1"}
    rotate(cluster)
    await turns(cluster, 12)
    assert (cluster.active, cluster.root(2).grade) == (2, Grade.PQC)
    assert version(cluster, "payments").epoch == 1, "the epoch of the higher grade is kept for it"
    assert cluster.root(1).state is EpochState.RETIRED
    cluster.fibre.down = set()
    await turns(cluster, 20)
    assert cluster.root(cluster.active).grade is Grade.QKD_PQC
    assert version(cluster, "payments").epoch == cluster.active
    assert {cluster.root(e).state for e in (1, 2)} == {EpochState.DESTROYED}


async def test_a_version_that_does_not_open_is_left_and_told(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    create(cluster, "sound")
    propose(
        cluster,
        c.CreateKey(request(), "broken", "AES_256_GCM", 0, 30_000, {}, c.NewVersion(1, 1, bytes(60), b"check")),
    )
    rotate(cluster)
    await turns(cluster, 10)
    assert (version(cluster, "sound").epoch, version(cluster, "broken").epoch) == (2, 1)
    assert cluster.root(1).state is EpochState.RETIRED, "nothing is given up for lost"
    assert "broken" in cluster.sites["node-1"].rewrapping.waiting


async def test_an_epoch_rotates_when_its_period_is_over(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, rotation_period_ms=60_000)
    await turns(cluster, 4)
    assert cluster.active == 1
    await turns(cluster, 20)
    assert cluster.active == 1
    await turns(cluster, 16)
    assert cluster.active == 2
    # The next leader counts from the same activation.
    await turns(cluster, 20, leader="node-3")
    assert cluster.active == 2


@pytest.mark.parametrize("down", [("node-1",), ("node-2", "node-3"), NODES], ids=["leader", "others", "all"])
@pytest.mark.parametrize("mode", ["keyfile", "passphrase", "peers"])
async def test_every_restart_in_every_mode(tmp_path: Path, mode: str, down: tuple[str, ...]) -> None:
    cluster = Cluster(tmp_path, seal_mode=mode)
    await turns(cluster, 4)
    create(cluster, "payments")
    cluster.restart(*down)
    await turns(cluster, 4)
    lost = mode == "peers" and down == NODES
    for node in NODES:
        if lost:
            with pytest.raises(QkmsError, match="has not opened root epoch 1"):
                material(cluster, node, "payments")
        else:
            assert material(cluster, node, "payments") == MATERIAL
    assert cluster.active == 1, "no restart brings a new root"


@pytest.mark.parametrize("leader", ["node-1", "node-2"], ids=["not the leader", "the leader itself"])
async def test_peers_give_a_restarted_node_the_root_under_a_fresh_qkd_key(tmp_path: Path, leader: str) -> None:
    cluster = Cluster(tmp_path, seal_mode="peers")
    await turns(cluster, 4)
    create(cluster, "payments")
    drawn = len(cluster.fibre.keys)
    cluster.restart("node-2")
    with pytest.raises(QkmsError, match="has not opened root epoch 1"):
        material(cluster, "node-2", "payments")
    await turns(cluster, 4, leader=leader)
    assert material(cluster, "node-2", "payments") == MATERIAL
    share = cluster.root(1).shares["node-2"]
    assert share.qkd_key_id == f"q{drawn}", "no key of before"
    assert files_named(tmp_path, "roots.sealed*") == []


async def test_peers_all_down_at_once_stay_without_root_until_recovery(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, seal_mode="peers")
    await turns(cluster, 4)
    create(cluster, "payments")
    private = HybridPrivateKey.generate()
    propose(
        cluster,
        c.SetRecovery(request(), "00" * 8, "", 2, 3, private.public.mlkem, private.public.x25519),
    )
    await turns(cluster, 1)
    rotate(cluster)
    await turns(cluster, 8)
    assert cluster.active == 2
    assert cluster.root(2).recovery_set == "00" * 8, "a later epoch is sealed to it without the shares"

    cluster.restart(*NODES)
    await turns(cluster, 10)
    assert [site.roots.open_epochs() for site in cluster.sites.values()] == [[], [], []]
    assert cluster.active == 2, "no epoch without the one before"

    root = open_sealed_to(private, cluster.root(2).recovery_sealed, sealed_root("test", "00" * 8, 2))
    site = cluster.sites["node-3"]
    handed = {
        2: seal_to(site.roots.share_key.public, root, handover("test", "00" * 8, 2, "node-3")),
    }
    wrong = seal_to(site.roots.share_key.public, bytes(32), handover("test", "00" * 8, 2, "node-3"))
    with pytest.raises(QkmsError, match="nothing has changed"):
        site.recovery.open("operator", "00" * 8, {2: wrong})
    assert site.roots.open_epochs() == []
    assert site.recovery.open("operator", "00" * 8, handed) == [2]
    await turns(cluster, 4)
    assert {material(cluster, node, "payments") for node in NODES} == {MATERIAL}


async def test_an_epoch_is_not_activated_before_it_is_sealed_to_the_recovery_key(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await turns(cluster, 4)
    private = HybridPrivateKey.generate()
    propose(cluster, c.SetRecovery(request(), "00" * 8, "", 2, 3, private.public.mlkem, private.public.x25519))
    rotate(cluster)
    site = cluster.sites["node-1"]
    await site.seeder.step()
    for other in cluster.sites.values():
        await other.voter.catch_up()
    proposer = Proposer(cluster.replica, 1.0)
    assert (await proposer.submit(c.ActivateRoot(2))).code == "NOT_RECOVERABLE"
    await turns(cluster, 2)
    assert cluster.active == 2
