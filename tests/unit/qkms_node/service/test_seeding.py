"""Seeding over several nodes that share one ledger and an in-memory QKD network."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import pytest

from ledger_world import request
from qkms_node.access.guard import Guard
from qkms_node.config import Config
from qkms_node.config_quantum import QkdSection, RootSection
from qkms_node.config_sections import (
    AccessSection,
    ClusterSection,
    Member,
    NodeSection,
    RaftSection,
    RpcSection,
    Rule,
    SealSection,
    TlsSection,
)
from qkms_node.consensus.local import LocalReplica
from qkms_node.keys.grade import Grade
from qkms_node.ledger.commands import RequestRoot
from qkms_node.ledger.records import EpochState, EventType, RootRecord
from qkms_node.service.links import Links
from qkms_node.service.proposing import Proposer
from qkms_node.service.recovery import Recovery
from qkms_node.service.rewrapping import Rewrapping
from qkms_node.service.roots import RootStore, RootStoreError
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.seeding import Seeder
from qkms_node.service.shares import Voter
from qkms_node.service.sharing import Sharing
from qkms_node.service.store import LedgerStore
from qkms_qkd.admission import AdmissionRules
from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus, QkdKey

ANYTHING = Rule(principals=("*",), actions=("*",))
NODES = ("node-1", "node-2", "node-3")


class Fibre:
    """Keys between all sites; `down` and `wrong` name the sites whose KME fails or lies.

    `qber`: of all links, None where no KME tells; `relays`: those that keys pass from now on; `untold`: the sites
    whose KME does not tell of them.
    """

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.down: set[str] = set()
        self.wrong: set[str] = set()
        self.empty = False
        self.tells_count = True
        self.repeat: str = ""
        self.relays: tuple[str, ...] = ()
        self.passed: dict[str, tuple[str, ...]] = {}
        self.untold: set[str] = set()
        self.qber: float | None = 0.033

    def link(self, local: str, peer: str) -> "FibreLink":
        return FibreLink(self, local, peer)


class FibreLink:
    """One end of a link of the fibre."""

    def __init__(self, fibre: Fibre, local: str, peer: str) -> None:
        self._fibre = fibre
        self._kme = f"kme-of-{local}"
        self._local = local
        self.peer_sae = peer

    def _alive(self) -> None:
        if self._local in self._fibre.down:
            raise LinkError(self._kme, "KME_UNREACHABLE", "does not answer")

    async def status(self) -> LinkStatus:
        self._alive()
        stored = None if not self._fibre.tells_count else 0 if self._fibre.empty else 5
        return LinkStatus(
            self.peer_sae, self._kme, f"kme-of-{self.peer_sae}", 256, stored, 10, 1, qber=self._fibre.qber, up=True
        )

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        self._alive()
        if self._fibre.empty:
            raise LinkError(self._kme, "STORE_EXHAUSTED", "has no key")
        key_id = self._fibre.repeat or f"q{len(self._fibre.keys)}"
        key = self._fibre.keys.setdefault(key_id, bytes([len(self._fibre.keys) + 1]) * 32)
        self._fibre.passed.setdefault(key_id, self._fibre.relays)
        return [QkdKey(key_id, key, 0.0, self._told(key_id))]

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        self._alive()
        wrong = self._local in self._fibre.wrong
        keys = [bytes(32) if wrong else self._fibre.keys[i] for i in key_ids]
        return [QkdKey(i, key, relays=self._told(i)) for i, key in zip(key_ids, keys, strict=True)]

    def _told(self, key_id: str) -> tuple[str, ...]:
        return () if self._local in self._fibre.untold else self._fibre.passed[key_id]

    async def close(self) -> None:
        pass


class Site:
    """One node's voter and seeder over the shared ledger."""

    def __init__(self, cluster: "Cluster", node_id: str) -> None:
        config = cluster.config(node_id)
        links = {n: cluster.fibre.link(node_id, n) for n in NODES if n != node_id}
        maker = SealMaker(config.seal, "test", node_id)
        self.roots = RootStore(config.node.data_dir, maker, "test", node_id)
        self.links = Links(f"kme-of-{node_id}", links, AdmissionRules(allow_relays=True), poll_s=60)
        proposer = Proposer(cluster.replica, 1.0)
        self.voter = Voter(config, cluster.store, self.roots, self.links, proposer)
        self.sharing = Sharing(
            *("test", node_id, cluster.store, self.roots, self.links, proposer),
            retry_s=config.root.retry_ms / 1000,
            now_s=lambda: cluster.now_ms / 1000,
        )
        self.seeder = Seeder(
            config, cluster.store, self.roots, self.links, self.sharing, proposer, lambda: cluster.now_ms
        )
        self.recovery = Recovery(config, Guard((ANYTHING,)), cluster.store, self.roots, proposer, self.sharing)
        self.rewrapping = Rewrapping(cluster.store, self.roots, proposer, lambda: cluster.now_ms)


class Cluster:
    """Three sites, one ledger, one clock."""

    def __init__(
        self, folder: Path, policy: str = "require_qkd", seal_mode: str = "keyfile", rotation_period_ms: int = 0
    ) -> None:
        self.root_settings: dict[str, object] = {}
        self.folder = folder
        self.policy = policy
        self.seal_mode = seal_mode
        self.rotation_period_ms = rotation_period_ms
        self.fibre = Fibre()
        self.now_ms = 1_000_000
        self.proposals = 0
        self.store = LedgerStore(asyncio.get_running_loop())
        self.replica = LocalReplica("node-1", self)
        self.sites = {n: Site(self, n) for n in NODES}
        self.index = 0

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        self.proposals += 1
        return self.store.apply(index, self.now_ms, command)

    def snapshot(self) -> list[bytes]:
        return list(self.store.snapshot())

    def restore(self, chunks: object) -> Callable[[], Iterable[object]]:
        raise AssertionError

    def config(self, node_id: str) -> Config:
        members = tuple(Member(id=n, raft_address="h:1", rpc_address="h:2", sae_id=n) for n in NODES)
        data = self.folder / node_id
        data.mkdir(exist_ok=True)
        return Config(
            node=NodeSection(id=node_id, data_dir=data),
            cluster=ClusterSection(id="test", members=members),
            raft=RaftSection(listen="h:1"),
            rpc=RpcSection(listen="h:2"),
            tls=TlsSection(ca=data, certificate=data, private_key=data),
            seal=self.seal(data),
            qkd=QkdSection(kme_id=f"kme-of-{node_id}", kme_url="https://h:3"),
            root=msgspec.convert(
                {"policy": self.policy, "rotation_period_ms": self.rotation_period_ms, **self.root_settings},
                RootSection,
            ),
            access=AccessSection(),
        )

    def seal(self, data: Path) -> SealSection:
        secret = data / "passphrase"
        if self.seal_mode == "passphrase":
            secret.write_bytes(b"passphrase of " + data.name.encode())
            secret.chmod(0o600)
        return SealSection(
            mode=self.seal_mode,  # type: ignore[arg-type]
            key_file=data / "seal.key",
            secret_file=secret,
            argon2_memory_kib=8192,
            argon2_passes=1,
        )

    def set_root(self, **settings: object) -> None:
        """Lays settings over those of [root], at every site."""
        self.root_settings = settings
        self.restart(*NODES)

    async def turn(self, leader: str = "node-1", only: Sequence[str] = NODES, passing_ms: int = 2_000) -> None:
        """One pass of everybody's upkeep, with time passing."""
        for name in only:
            await self.sites[name].links.look()
            self.sites[name].voter.erase_ended()
            await self.sites[name].voter.register()
            await self.sites[name].voter.catch_up()
        self.now_ms += passing_ms
        for name in only:
            site = self.sites[name]
            with self.store.view() as state:
                peers = site.seeder.peers(state)
            await site.recovery.step(leader, frozenset(only))
            await site.sharing.share_anew(leader, frozenset(only), peers)
        if leader in only:
            await self.sites[leader].seeder.step()
            await self.sites[leader].rewrapping.step()

    async def ask(self, epoch: int) -> None:
        """An operator's request for an epoch in place of this one."""
        await Proposer(self.replica, 1.0).effect(RequestRoot(request(), epoch))

    def restart(self, *nodes: str) -> None:
        """What was in memory is gone."""
        for name in nodes:
            self.sites[name] = Site(self, name)

    def root(self, epoch: int) -> RootRecord:
        with self.store.view() as state:
            return state.roots[epoch]

    @property
    def active(self) -> int:
        with self.store.view() as state:
            return state.active_epoch


async def test_a_root_is_seeded_from_every_link_and_equal_everywhere(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(4):
        await cluster.turn()
    root = cluster.root(1)
    assert (cluster.active, root.grade, root.confirmed) == (1, Grade.QKD_PQC, NODES)
    assert len(root.qkd_key_ids) == 2
    assert len({bytes(s.roots.root(root).reveal()) for s in cluster.sites.values()}) == 1


async def test_require_qkd_waits_and_names_the_kme(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.down = {"node-1"}
    for _ in range(20):
        await cluster.turn()
    assert cluster.active == 0
    assert "kme-of-node-1" in cluster.sites["node-1"].seeder.waiting
    cluster.fibre.down = set()
    for _ in range(20):
        await cluster.turn()
    assert cluster.root(cluster.active).grade is Grade.QKD_PQC


async def test_prefer_qkd_goes_on_and_reseeds_when_qkd_returns(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "prefer_qkd")
    cluster.fibre.down = {"node-1"}
    for _ in range(10):
        await cluster.turn()
    first = cluster.active
    assert cluster.root(first).grade is Grade.PQC
    assert cluster.root(first).qkd_key_ids == ()
    for _ in range(10):
        await cluster.turn()
    assert cluster.active == first, "no epoch after epoch while QKD stays away"
    cluster.fibre.down = set()
    for _ in range(20):
        await cluster.turn()
    assert cluster.root(cluster.active).grade is Grade.QKD_PQC
    assert cluster.active == first + 1


async def test_an_empty_store_alone_may_be_waited_for(tmp_path: Path) -> None:
    for action, grade in (("wait", Grade.QKD_PQC), ("fall_back", Grade.PQC)):
        (tmp_path / action).mkdir()
        cluster = Cluster(tmp_path / action, "prefer_qkd")
        cluster.set_root(on_exhaustion=action)
        cluster.fibre.empty = True
        for _ in range(15):
            await cluster.turn()
        if action == "wait":
            assert cluster.active == 0
            assert "STORE_EXHAUSTED" in cluster.sites["node-1"].seeder.waiting
            cluster.fibre.empty = False
            for _ in range(15):
                await cluster.turn()
        assert cluster.root(cluster.active).grade is grade
        assert ("STORE_EXHAUSTED" in cluster.root(cluster.active).fallback) == (grade is Grade.PQC)


@pytest.mark.parametrize("told", [True, False], ids=["the status says so", "the KME does not tell"])
@pytest.mark.parametrize("policy", ["require_qkd", "prefer_qkd"])
async def test_want_of_keys_is_refused_once_and_nothing_waits_or_falls_back(
    tmp_path: Path, policy: str, told: bool
) -> None:
    cluster = Cluster(tmp_path, policy)
    cluster.set_root(on_exhaustion="refuse", fallback_after_ms=0)
    for _ in range(4):
        await cluster.turn()
    assert cluster.active == 1
    cluster.fibre.empty, cluster.fibre.tells_count = True, told
    for asked in (1, 2):
        await cluster.ask(1)
        for _ in range(10):
            await cluster.turn()
        with cluster.store.view() as state:
            refused = [e.name for e in state.events if e.type is EventType.ROOT_REFUSED]
            assert refused == ["rootEpochs/1"] * asked, "each request is answered once"
            assert not state.root_requested, "it is not kept"
            assert "STORE_EXHAUSTED" in state.root_refusals[1].reason
        assert (cluster.active, cluster.sites["node-1"].seeder.waiting) == (1, "")
    cluster.fibre.empty = False
    for _ in range(10):
        await cluster.turn()
    assert cluster.active == 1, "what was refused does not come by itself"
    await cluster.ask(1)
    for _ in range(6):
        await cluster.turn()
    assert (cluster.active, cluster.root(2).grade) == (2, Grade.QKD_PQC)


async def test_a_refused_rotation_by_age_is_told_once_and_comes_when_there_are_keys(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, rotation_period_ms=60_000)
    cluster.set_root(on_exhaustion="refuse")
    for _ in range(4):
        await cluster.turn()
    cluster.fibre.empty = True
    cluster.now_ms += 60_000
    await cluster.turn()
    told = cluster.proposals
    with cluster.store.view() as state:
        assert 1 in state.root_refusals
    for leader in ("node-1", "node-2", "node-1"):
        for _ in range(5):
            await cluster.turn(leader)
        assert cluster.sites[leader].seeder.waiting.startswith("refused: ")
    assert cluster.proposals == told, "no leader tells it twice"
    cluster.fibre.empty = False
    for _ in range(4):
        await cluster.turn()
    assert cluster.active == 2


@pytest.mark.parametrize("tells_count", [True, False])
async def test_a_root_that_the_cluster_needs_is_refused_and_still_made_when_there_are_keys(
    tmp_path: Path, tells_count: bool
) -> None:
    cluster = Cluster(tmp_path, "prefer_qkd")
    cluster.set_root(on_exhaustion="refuse", fallback_after_ms=0)
    for _ in range(4):
        await cluster.turn()
    cluster.fibre.empty, cluster.fibre.tells_count = True, tells_count
    with cluster.store.view() as state:
        state.root_needed = True
    for _ in range(10):
        await cluster.turn()
    with cluster.store.view() as state:
        assert 1 in state.root_refusals
    assert cluster.active == 1, "it is not made without QKD"
    cluster.fibre.empty = False
    for _ in range(20):
        await cluster.turn()
    assert (cluster.active, cluster.root(2).grade) == (2, Grade.QKD_PQC)


async def test_links_that_are_down_are_waited_for_though_want_of_keys_is_refused(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.set_root(on_exhaustion="refuse")
    cluster.fibre.down = {"node-1"}
    for _ in range(6):
        await cluster.turn()
    with cluster.store.view() as state:
        assert not state.root_refusals
    cluster.fibre.down = set()
    for _ in range(20):
        await cluster.turn()
    assert cluster.active == 1


async def test_a_link_that_comes_and_goes_does_not_bring_qkd_back(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "prefer_qkd")
    cluster.set_root(resume_after_ms=5_000)
    cluster.fibre.down = {"node-1"}
    for _ in range(10):
        await cluster.turn()
    first = cluster.active
    for _ in range(15):
        cluster.fibre.down = set() if cluster.fibre.down else {"node-1"}
        await cluster.turn()
    assert cluster.active == first
    cluster.fibre.down = set()
    for _ in range(8):
        await cluster.turn()
    assert (cluster.active, cluster.root(first + 1).grade) == (first + 1, Grade.QKD_PQC)


async def test_a_wrong_key_aborts_the_epoch_and_names_the_kme(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.fibre.wrong = {"node-3"}
    for _ in range(4):
        await cluster.turn()
    assert cluster.active == 0
    aborted = cluster.root(1)
    assert aborted.state is EpochState.ABORTED
    assert "node-3" in aborted.reason
    assert "kme-of-node-3" in aborted.reason
    assert "kme-of-node-1" in aborted.reason, "which of the two ends lied cannot be told"
    cluster.fibre.wrong = set()
    for _ in range(40):
        await cluster.turn()
    assert cluster.root(cluster.active).state is EpochState.ACTIVE
    assert not set(cluster.root(cluster.active).qkd_key_ids) & set(aborted.qkd_key_ids)


async def test_a_key_delivered_again_seeds_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(4):
        await cluster.turn()
    cluster.fibre.repeat = cluster.root(1).qkd_key_ids[0]
    with cluster.store.view() as state:
        state.root_requested = True
    for _ in range(10):
        await cluster.turn()
    assert cluster.active == 1
    assert "KEY_REPLAYED" in cluster.sites["node-1"].seeder.waiting


async def test_a_new_leader_goes_on_where_the_old_one_fell(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.turn(only=("node-2", "node-3"))
    await cluster.turn()
    assert cluster.root(1).state is EpochState.STAGED
    for _ in range(3):
        await cluster.turn(leader="node-2", only=("node-2", "node-3"))
    assert cluster.active == 1
    assert cluster.root(1).confirmed == ("node-2", "node-3")
    await cluster.turn()
    assert cluster.root(1).confirmed == NODES, "the old leader had stored its root before it staged it"


async def test_an_epoch_that_no_quorum_confirms_is_given_up(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.turn()
    assert cluster.root(1).state is EpochState.STAGED
    for _ in range(10):
        await cluster.turn(only=("node-1",))
    assert cluster.root(1).state is EpochState.ABORTED
    assert "node-2, node-3" in cluster.root(1).reason


async def test_a_node_that_lost_its_store_is_given_the_root_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(4):
        await cluster.turn()
    (tmp_path / "node-3" / "roots.sealed").unlink()
    cluster.sites["node-3"] = Site(cluster, "node-3")
    for _ in range(6):
        await cluster.turn()
    root = cluster.root(1)
    assert cluster.sites["node-3"].roots.holds(root)
    assert root.shares["node-3"].qkd_key_id, "a QKD epoch travels again only under a QKD key"


async def test_a_share_that_is_rejected_is_given_again_less_and_less_often(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(4):
        await cluster.turn()
    (tmp_path / "node-3" / "roots.sealed").unlink()
    cluster.sites["node-3"] = Site(cluster, "node-3")
    cluster.fibre.wrong = {"node-3"}
    before = len(cluster.fibre.keys)
    for _ in range(600):
        await cluster.turn(passing_ms=100)
    drawn = len(cluster.fibre.keys) - before
    assert 4 <= drawn <= 8, "1, 2, 4, 8, 16 s apart within a minute, and no key for each pass"
    waiting = cluster.sites["node-1"].sharing.waiting
    assert "node-3 needs root epoch 1" in waiting
    assert "kme-of-node-3" in waiting
    cluster.fibre.wrong = set()
    for _ in range(170):
        await cluster.turn(passing_ms=100)
    assert cluster.sites["node-3"].roots.holds(cluster.root(1))
    assert not cluster.sites["node-1"].sharing.waiting


async def test_roots_survive_a_restart_of_every_node(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(4):
        await cluster.turn()
    before = bytes(cluster.sites["node-2"].roots.root(cluster.root(1)).reveal())
    cluster.sites = {n: Site(cluster, n) for n in NODES}
    for _ in range(3):
        await cluster.turn()
    assert cluster.active == 1
    assert bytes(cluster.sites["node-3"].roots.root(cluster.root(1)).reveal()) == before


async def test_the_root_store_refuses_a_readable_or_foreign_key_file(tmp_path: Path) -> None:
    def store(node_id: str) -> RootStore:
        section = SealSection(mode="keyfile", key_file=tmp_path / "seal.key")
        return RootStore(tmp_path, SealMaker(section, "test", node_id), "test", node_id)

    store("node-1")
    (tmp_path / "seal.key").chmod(0o644)
    with pytest.raises(RootStoreError, match="0644"):
        store("node-1")
    (tmp_path / "seal.key").chmod(0o600)
    with pytest.raises(RootStoreError, match="cannot be opened"):
        store("node-2")
    (tmp_path / "seal.key").write_bytes(b"short")
    with pytest.raises(RootStoreError, match="5 bytes"):
        store("node-1")


async def test_a_member_that_comes_late_is_given_the_root_without_a_new_epoch(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(6):
        await cluster.turn(only=("node-1", "node-2"))
    assert cluster.active == 1
    assert "node-3" not in cluster.root(1).shares
    for _ in range(4):
        await cluster.turn()
    assert cluster.active == 1
    assert cluster.sites["node-3"].roots.holds(cluster.root(1))
    assert cluster.root(1).confirmed == NODES
