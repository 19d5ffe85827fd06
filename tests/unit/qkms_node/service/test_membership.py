"""The leader lets the engine's configuration follow the records, one change at a time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from local_node import config as make_config
from qkms_node.consensus.change_rules import Change, changed
from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.local import LocalReplica
from qkms_node.consensus.replica import ChangeRefused, NotCommitted, ReplicaStatus, Role
from qkms_node.ledger import commands as c
from qkms_node.ledger.member_records import MemberRecord, MemberRole
from qkms_node.pki import Authority, Identity
from qkms_node.service.links import Links
from qkms_node.service.members import Members
from qkms_node.service.membership import Membership, due, heirs
from qkms_node.service.proposing import Proposer
from qkms_node.service.proposing import request as make_request
from qkms_node.service.store import LedgerStore
from qkms_qkd.admission import AdmissionRules
from qkms_qkd.link import LinkStatus, QkdKey
from qkms_qkd.oversight import Oversight

IDS = [f"node-{n}" for n in range(1, 6)]
ADDRESSES = {node: f"{node}:1" for node in IDS}

roles = st.sampled_from(MemberRole)


def record(node_id: str, role: MemberRole = MemberRole.VOTER) -> MemberRecord:
    return MemberRecord(node_id, ADDRESSES[node_id], f"{node_id}:2", f"sae-{node_id}", role)


def status_of(configuration: Configuration, leader: str = "node-1", **changes: object) -> ReplicaStatus:
    held = dict.fromkeys(configuration.members, 100)
    fields: dict[str, object] = {
        "role": Role.LEADER,
        "term": 1,
        "leader_id": leader,
        "commit_index": 100,
        "applied_index": 100,
        "staleness_s": 0.0,
        "connected": frozenset(configuration.members),
        "configuration": configuration,
        "held": held,
    }
    return ReplicaStatus(**(fields | changes))  # type: ignore[arg-type]


@given(
    voters=st.sets(st.sampled_from(IDS), min_size=1),
    learners=st.sets(st.sampled_from(IDS)),
    wanted=st.dictionaries(st.sampled_from(IDS), roles, min_size=1),
)
def test_changes_one_at_a_time_lead_to_the_records(
    voters: set[str], learners: set[str], wanted: dict[str, MemberRole]
) -> None:
    """But for a voter that is meant to be a learner, which takes a removal: nothing demotes."""
    if MemberRole.VOTER not in wanted.values():
        wanted[next(iter(wanted))] = MemberRole.VOTER
    configuration = Configuration({n: ADDRESSES[n] for n in voters}, {n: ADDRESSES[n] for n in learners - voters})
    records = {n: record(n, role) for n, role in wanted.items()}
    for _ in range(3 * len(IDS)):
        changes = due(records, status_of(configuration))
        if not changes:
            break
        configuration = changed(configuration, changes[0])
        assert configuration.voters
    assert set(configuration.members) == set(wanted)
    assert {n for n, role in wanted.items() if role is MemberRole.VOTER} <= set(configuration.voters)
    assert set(configuration.voters) - voters <= {n for n, r in wanted.items() if r is MemberRole.VOTER}


def test_an_heir_stays_is_connected_and_has_the_log() -> None:
    configuration = Configuration(dict(ADDRESSES))
    wanted = {n: record(n) for n in IDS if n != "node-2"}
    held = {"node-2": 100, "node-3": 99, "node-4": 100, "node-5": 1}
    connected = frozenset(IDS) - {"node-1"}
    assert heirs(wanted, status_of(configuration, held=held, connected=connected)) == ["node-4", "node-3"]
    assert heirs(wanted, status_of(configuration, held=held, connected=frozenset({"node-5"}))) == []


@dataclass
class Engine(LocalReplica):
    """A leader whose engine keeps a configuration by the real rules, and refuses what it is told to."""

    machine: LedgerStore
    configuration: Configuration
    lagging: set[str] = field(default_factory=set)
    offered: list[str | None] = field(default_factory=list)
    away: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        super().__init__("node-1", self.machine)

    async def change_members(self, change: Change, timeout_s: float) -> Configuration:
        if change.member in self.lagging:
            raise NotCommitted(f"{change.member} has not caught up")
        if change == Change("remove", "node-1"):
            raise ChangeRefused("node-1 leads; hand leadership over first")
        self.configuration = changed(self.configuration, change)
        return self.configuration

    async def transfer_leadership(self, target: str | None, timeout_s: float) -> bool:
        self.offered.append(target)
        return True

    def status(self) -> ReplicaStatus:
        connected = frozenset(self.configuration.members) - self.away
        return status_of(self.configuration, connected=connected)


class Leader:
    """node-1, which leads three founders."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder / "pki")
        settings = make_config(folder, authority.issue(Identity("node", "node-1")), ())
        self.store = LedgerStore(asyncio.get_running_loop())
        self.engine = Engine(self.store, Configuration({n: ADDRESSES[n] for n in IDS[:3]}))
        self.proposer = Proposer(self.engine, 1.0)
        members = Members(settings)
        members.founders = tuple(record(n) for n in IDS[:3])
        self.membership = Membership(settings, members, self.engine, self.store, self.proposer)

    async def do(self, kind: type[c.Mutation], **fields: object) -> None:
        request = make_request(f"{kind.__name__}-{fields}", "operator", kind.__name__, b"")
        await self.proposer.effect(kind(request, **fields))  # type: ignore[arg-type]

    async def passes(self, count: int, now_ms: int = 0) -> None:
        for _ in range(count):
            await self.membership.step(now_ms)


async def test_a_member_is_added_promoted_and_removed_as_recorded(tmp_path: Path) -> None:
    leader = Leader(tmp_path)
    await leader.passes(2)
    with leader.store.view() as state:
        assert set(state.members) == set(IDS[:3])
    await leader.do(c.AddMember, node_id="node-4", raft_address="node-4:1", rpc_address="node-4:2", sae_id="s")
    await leader.passes(1)
    assert leader.engine.configuration.learners == {"node-4": "node-4:1"}
    await leader.proposer.effect(c.RegisterNode("node-4", b"m", b"x"))
    await leader.do(c.PromoteMember, node_id="node-4")
    await leader.do(c.RemoveMember, node_id="node-2")
    leader.engine.lagging = {"node-4"}
    await leader.passes(2)
    # What is refused for now does not hold up the next change, and is told.
    assert "not now: node-4 has not caught up" in leader.membership.troubles["node-4"]
    assert set(leader.engine.configuration.voters) == {"node-1", "node-3"}
    leader.engine.lagging = set()
    await leader.passes(1)
    assert set(leader.engine.configuration.voters) == {"node-1", "node-3", "node-4"}
    assert leader.membership.troubles == {}


async def test_a_leader_that_is_to_go_hands_over_and_asks_nobody_who_cannot(tmp_path: Path) -> None:
    leader = Leader(tmp_path)
    await leader.passes(1)
    await leader.do(c.RemoveMember, node_id="node-1")
    leader.engine.away = frozenset(IDS)
    await leader.passes(2)
    assert leader.engine.offered == []
    assert "another voter is not connected" in leader.membership.troubles["node-1"]
    leader.engine.away = frozenset({"node-2"})
    await leader.passes(1)
    assert leader.engine.offered == ["node-3"]
    assert "node-1" in leader.engine.configuration.voters, "its successor removes it"


async def test_a_wish_for_another_leader_is_followed_and_given_up_in_the_end(tmp_path: Path) -> None:
    leader = Leader(tmp_path)
    await leader.passes(1)
    await leader.do(c.TransferLeadership, target="node-2", source="node-1")
    await leader.passes(1)
    assert leader.engine.offered == ["node-2"]
    leader.engine.away = frozenset({"node-2"})
    await leader.passes(1)
    assert leader.engine.offered == ["node-2"]
    with leader.store.view() as state:
        expiry_ms = state.handovers["leader"].expire_ms
    await leader.passes(1, now_ms=expiry_ms + 1)
    with leader.store.view() as state:
        assert state.handovers == {}


@dataclass
class Line:
    """A QKD link that notes its end."""

    ends: tuple[str, str]
    peer_sae: str = ""
    closed: bool = False

    async def status(self) -> LinkStatus:
        return LinkStatus(self.ends[1], "kme-1", "kme-2", 256, 5, 10, 1, qber=0.01, up=True)

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        raise AssertionError

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        raise AssertionError

    async def close(self) -> None:
        self.closed = True


async def test_links_follow_members_and_the_certificate() -> None:
    made: list[Line] = []
    stamp = ["first"]

    def make(local: str, peer: str, oversight: Oversight) -> Line:
        made.append(Line((local, peer)))
        return made[-1]

    links = Links("kme-1", {}, AdmissionRules(), 60, make, lambda: stamp[0])
    links.follow("me", {"node-2": "two", "node-3": "three"})
    links.follow("me", {"node-2": "two", "node-3": "three"})
    assert [line.ends for line in made] == [("me", "two"), ("me", "three")]
    await asyncio.sleep(0)  # a new link is looked at without waiting for the next round
    await asyncio.sleep(0)
    assert links.usable("node-2")
    links.follow("me", {"node-2": "two"})
    assert links.peers == {"node-2"}
    assert "node-3" not in links.observations
    stamp[0] = "renewed"
    links.follow("me", {"node-2": "two"})
    assert [line.ends for line in made[2:]] == [("me", "two")]
    assert not made[0].closed, "it may carry a request yet"
    await links.close()
    assert made[2].closed
