"""What nodes do unasked about keys: evidence on staged versions, rotation by period and for QKD."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ledger_world import NODES, request
from qkms_node.config_sections import SealSection
from qkms_node.consensus.local import LocalReplica
from qkms_node.keys.grade import Grade
from qkms_node.keys.root import commitment
from qkms_node.keys.secret import RootSecret
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EventType, KeyRecord, VersionRecord, VersionState
from qkms_node.service.drawing import Drawing
from qkms_node.service.evidence import Witness
from qkms_node.service.freshness import Freshness
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.rotation import RETRY_MS, Rotator
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.store import LedgerStore

ROOT = RootSecret(bytes(range(32)))
PERIOD_MS = 60_000


class Site:
    """What one node has: its roots, its witness, its rotator."""

    def __init__(self, cluster: "Cluster", folder: Path, node_id: str) -> None:
        self.roots = RootStore(
            folder,
            SealMaker(SealSection(mode="keyfile", key_file=folder / "seal.key"), "test", node_id),
            "test",
            node_id,
        )
        self.materials = Materials(
            cluster.store, self.roots, Drawing(cluster.store, self.roots), cluster.proposer, cluster.freshness
        )
        self.witness = Witness(node_id, cluster.store, self.roots, self.materials, cluster.proposer)
        self.rotator = Rotator(
            cluster.replica, cluster.store, self.materials, cluster.proposer, lambda: cluster.now_ms
        )


class Cluster:
    """Three sites over one ledger whose clock stands until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.now_ms = 1_000_000
        self.proposals = 0
        self.store = LedgerStore(asyncio.get_running_loop())
        self.replica = LocalReplica("node-1", self)
        self.proposer = Proposer(self.replica, 1.0)
        self.freshness = Freshness(self.replica, self.store, 1.0)
        self.sites: dict[str, Site] = {}
        for node_id in NODES:
            (folder / node_id).mkdir()
            self.sites[node_id] = Site(self, folder / node_id, node_id)

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        self.proposals += 1
        return self.store.apply(index, self.now_ms, command)

    def snapshot(self) -> list[bytes]:
        return list(self.store.snapshot())

    def restore(self, chunks: object) -> Any:
        raise AssertionError("nothing is restored here")

    async def do(self, command: c.AnyCommand) -> c.Outcome:
        return await self.proposer.effect(command)

    async def seed(self, *holders: str, epoch: int = 1, grade: Grade = Grade.PQC) -> None:
        check = commitment(ROOT, "test", epoch)
        await self.do(c.StageRoot(epoch, epoch - 1, grade, "node-1", check, (), NODES, {}))
        for node in NODES[:2]:
            await self.do(c.ConfirmRoot(epoch, node, check))
        await self.do(c.ActivateRoot(epoch))
        for node in holders:
            self.sites[node].roots.keep(epoch, check, RootSecret(ROOT.reveal()))

    async def create(
        self, rotation_period_ms: int = 0, *, key_id: str = "payments", prefer_qkd: bool = False
    ) -> None:
        new = await self.sites["node-1"].materials.draw(key_id, 1, "AES_256_GCM")
        made = c.CreateKey(request(), key_id, "AES_256_GCM", 0, 0, {}, new, rotation_period_ms)
        await self.do(replace(made, prefer_qkd=prefer_qkd))

    async def stage(self, wrapped: bytes = b"", check_value: bytes = b"") -> None:
        new = await self.sites["node-1"].materials.draw("payments", 2, "AES_256_GCM")
        new = c.NewVersion(2, 1, wrapped or new.wrapped, check_value or new.check_value)
        await self.do(c.StageVersion(request(), "payments", new, NODES))

    def key(self) -> KeyRecord:
        with self.store.view() as state:
            return state.key("payments")

    def version(self, number: int) -> VersionRecord:
        with self.store.view() as state:
            return state.version("payments", number)


@pytest.fixture
async def cluster(tmp_path: Path) -> Cluster:
    made = Cluster(tmp_path)
    await made.seed("node-1", "node-2")
    return made


async def test_each_voter_that_holds_the_root_gives_its_evidence_once(cluster: Cluster) -> None:
    await cluster.create()
    await cluster.stage()
    for _ in range(2):
        for site in cluster.sites.values():
            await site.witness.step()
    staging = cluster.version(2).staging
    assert staging is not None
    assert set(staging.confirmed) == {"node-1", "node-2"}, "node-3 waits for its root"
    before = cluster.proposals
    await cluster.sites["node-3"].witness.step()
    assert cluster.proposals == before, "waiting writes nothing"
    cluster.sites["node-3"].roots.keep(1, commitment(ROOT, "test", 1), RootSecret(ROOT.reveal()))
    await cluster.sites["node-3"].witness.step()
    staging = cluster.version(2).staging
    assert staging is not None
    assert set(staging.confirmed) == set(NODES)


@pytest.mark.parametrize(
    ("wrapped", "check_value", "reason"),
    [(b"not what was wrapped", b"", "does not open"), (b"", bytes(16), "check value")],
)
async def test_a_version_that_does_not_open_or_opens_to_something_else_is_ended(
    cluster: Cluster, wrapped: bytes, check_value: bytes, reason: str
) -> None:
    await cluster.create()
    await cluster.stage(wrapped, check_value)
    await cluster.sites["node-2"].witness.step()
    version = cluster.version(2)
    assert (version.state, version.wrapped) == (VersionState.DESTROYED, b"")
    assert version.reason.startswith("node-2: ")
    assert reason in version.reason
    assert cluster.key().staged == 0


async def test_a_voter_that_cannot_open_an_active_version_says_so_once(cluster: Cluster) -> None:
    await cluster.create()
    await cluster.stage()
    for node in ("node-1", "node-2"):
        await cluster.sites[node].witness.step()
    await cluster.do(c.ValidateVersion(request(), "payments", 2))
    await cluster.do(c.ActivateVersion(request(), "payments", 2, 1))
    # A root of the right name with other content, as a bad disk would give it.
    third = cluster.sites["node-3"]
    third.roots.keep(1, commitment(ROOT, "test", 1), RootSecret(bytes(32)))
    await third.witness.step()
    before = cluster.proposals
    await third.witness.step()
    assert cluster.proposals == before
    staging = cluster.version(2).staging
    assert staging is not None
    assert list(staging.rejected) == ["node-3"]
    assert cluster.version(2).state is VersionState.ACTIVE


async def test_two_leaders_make_one_rotation(cluster: Cluster) -> None:
    await cluster.create(rotation_period_ms=PERIOD_MS)
    cluster.now_ms += PERIOD_MS
    await cluster.do(c.AdvanceTime())
    first, second = cluster.sites["node-1"].rotator, cluster.sites["node-2"].rotator
    await asyncio.gather(first.step(), second.step())
    await first.step()
    assert (cluster.key().primary, cluster.key().version_count) == (2, 2)
    assert cluster.version(1).state is VersionState.DEACTIVATED


async def test_what_cannot_be_rotated_stays_due_and_is_not_tried_in_every_pass(cluster: Cluster) -> None:
    await cluster.create(rotation_period_ms=PERIOD_MS)
    await cluster.do(c.DisableKey(request(), "payments"))
    cluster.now_ms += PERIOD_MS
    await cluster.do(c.AdvanceTime())
    rotator = cluster.sites["node-1"].rotator
    before = cluster.proposals
    await rotator.step()
    assert cluster.proposals == before, "a disabled key is not even tried"
    await cluster.do(c.EnableKey(request(), "payments"))
    third = cluster.sites["node-3"].rotator
    await third.step()
    assert cluster.key().primary == 1, "node-3 does not hold the root"
    cluster.sites["node-3"].roots.keep(1, commitment(ROOT, "test", 1), RootSecret(ROOT.reveal()))
    await third.step()
    assert cluster.key().primary == 1, "it waits a while before it tries again"
    cluster.now_ms += RETRY_MS
    await third.step()
    assert cluster.key().primary == 2


async def test_a_refused_rotation_is_tried_again_later(cluster: Cluster) -> None:
    await cluster.create(rotation_period_ms=PERIOD_MS)
    cluster.now_ms += PERIOD_MS
    await cluster.do(c.AdvanceTime())
    cluster.replica.cut()
    rotator = cluster.sites["node-1"].rotator
    await rotator.step()
    cluster.replica.heal()
    cluster.now_ms += RETRY_MS
    await rotator.step()
    assert cluster.key().primary == 2


async def test_keys_that_prefer_qkd_are_rotated_once_when_the_root_has_it_and_no_others(cluster: Cluster) -> None:
    await cluster.create(prefer_qkd=True)
    await cluster.create(key_id="indifferent")
    first, second = cluster.sites["node-1"].rotator, cluster.sites["node-2"].rotator
    before = cluster.proposals
    await first.step()
    assert cluster.proposals == before, "while the root is without QKD nothing is tried"
    await cluster.seed("node-1", "node-2", epoch=2, grade=Grade.QKD_PQC)
    await asyncio.gather(first.step(), second.step())
    await second.step()
    assert (cluster.key().primary, cluster.key().version_count) == (2, 2)
    assert cluster.version(2).grade is Grade.QKD_PQC
    assert cluster.version(1).state is VersionState.DEACTIVATED
    with cluster.store.view() as state:
        assert state.key("indifferent").version_count == 1
        audited = [line for line in state.audit if b"qkms:qkd-resumed" in line]
        assert len(audited) == 1, "one record, by a name that says why"
        assert b"rotate_key" in audited[0]
        assert state.events[-1].type is EventType.KEY_ROTATED


async def test_a_key_that_cannot_be_rotated_for_qkd_waits_and_a_fall_back_meanwhile_stops_it(
    cluster: Cluster,
) -> None:
    await cluster.create(prefer_qkd=True)
    await cluster.do(c.DisableKey(request(), "payments"))
    await cluster.seed("node-1", epoch=2, grade=Grade.QKD_PQC)
    rotator = cluster.sites["node-1"].rotator
    await rotator.step()
    assert cluster.key().primary == 1
    await cluster.seed("node-1", epoch=3)
    await cluster.do(c.EnableKey(request(), "payments"))
    await rotator.step()
    assert cluster.key().primary == 1, "the root is without QKD again"
    await cluster.seed("node-1", epoch=4, grade=Grade.QKD_PQC)
    await rotator.step()
    assert cluster.key().primary == 2


async def test_a_key_that_is_due_and_awaits_qkd_is_rotated_once(cluster: Cluster) -> None:
    await cluster.create(rotation_period_ms=PERIOD_MS, prefer_qkd=True)
    await cluster.seed("node-1", epoch=2, grade=Grade.QKD_PQC)
    cluster.now_ms += PERIOD_MS
    await cluster.do(c.AdvanceTime())
    before = cluster.proposals
    await cluster.sites["node-1"].rotator.step()
    assert (cluster.key().primary, cluster.key().version_count) == (2, 2)
    assert cluster.proposals == before + 1
