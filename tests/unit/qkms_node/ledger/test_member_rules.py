"""Member records: added once, promoted when joined, removed for good; tokens give one certificate each."""

import hashlib

import pytest

from ledger_world import HOUR_MS, NODES, World, request, seeded, share
from qkms_node.consensus import change_rules
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger import member_rules
from qkms_node.ledger.member_records import MemberRecord, MemberRole
from qkms_node.ledger.records import EventType
from qkms_node.ledger.snapshot import digest, restore, snapshot

TOKEN = hashlib.sha256(b"token").digest()
CSR = hashlib.sha256(b"csr").digest()


def founder(node_id: str) -> MemberRecord:
    return MemberRecord(node_id, f"{node_id}:1", f"{node_id}:2", node_id, MemberRole.VOTER)


def adding(node_id: str = "node-4", tag: str = "", token: bytes = TOKEN, host: str = "") -> c.AddMember:
    host = host or node_id
    return c.AddMember(request(tag), node_id, f"{host}:1", f"{host}:2", host, token, HOUR_MS if token else 0)


def redeeming(csr: bytes = CSR, token: bytes = TOKEN, node_id: str = "node-4", tag: str = "") -> c.RedeemToken:
    return c.RedeemToken(request(tag), node_id, token, csr, b"certificate for " + csr[:4])


@pytest.fixture
def world() -> World:
    """Three founders with an active root."""
    world = seeded()
    world.do(c.FoundMembers(tuple(founder(n) for n in NODES)))
    for node in NODES:
        world.do(c.RegisterNode(node, b"m", b"x"))
    return world


def joined(world: World, node_id: str = "node-4") -> None:
    world.do(adding(node_id))
    world.do(c.RegisterNode(node_id, b"m", b"x"))


def test_the_first_record_of_the_founders_stays(world: World) -> None:
    assert not world.do(c.FoundMembers((founder("other"),))).changed
    assert set(world.state.members) == set(NODES)


def test_nobody_is_added_before_the_founders_are_recorded() -> None:
    """Otherwise the leader would take the one record for all there are, and remove everybody else."""
    for command in (adding(), c.RemoveMember(request(), "node-1")):
        assert World().do(command).code == "NOT_FOUNDED"


def test_a_repeated_and_a_reordered_request_add_once(world: World) -> None:
    first = world.do(adding(tag="a"))
    assert (first.changed, first.member and first.member.role) == (True, MemberRole.LEARNER)
    world.do(c.RemoveMember(request(), "node-4"))
    again = world.do(adding(tag="a"))
    assert again.replayed
    assert "node-4" not in world.state.members


def test_a_member_may_be_recorded_without_a_token(world: World) -> None:
    assert world.do(adding(token=b"")).changed
    assert world.do(adding(token=b"")).note == "already a member"
    assert not world.state.join_tokens


def test_the_same_member_again_gets_another_token_and_nothing_else(world: World) -> None:
    world.do(adding())
    before = world.state.members
    assert world.do(adding(token=bytes(32))).changed
    assert world.state.members == before
    assert world.do(redeeming()).code == "JOIN_TOKEN_INVALID"
    assert world.do(redeeming(token=bytes(32))).changed
    assert not world.do(adding(token=b"")).changed


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (adding("node-1", host="elsewhere"), "MEMBER_EXISTS"),
        (adding("node-4", host="node-1"), "MEMBER_EXISTS"),
        (c.PromoteMember(request(), "node-9"), "MEMBER_NOT_FOUND"),
        (c.RemoveMember(request(), "node-9"), "MEMBER_NOT_FOUND"),
        (c.TransferLeadership(request(), "node-9", "node-1"), "MEMBER_NOT_FOUND"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(world: World, command: c.AnyCommand, code: str) -> None:
    before = digest(world.state)
    assert world.do(command).code == code
    assert digest(world.state) == before


def test_only_a_learner_that_has_joined_is_promoted(world: World) -> None:
    world.do(adding())
    assert world.do(c.PromoteMember(request(), "node-4")).code == "MEMBER_NOT_READY"
    world.do(c.RegisterNode("node-4", b"m", b"x"))
    assert world.do(c.PromoteMember(request(), "node-4")).changed
    assert not world.do(c.PromoteMember(request(), "node-4")).changed
    assert world.state.events[-1].type is EventType.MEMBER_CHANGED


def test_limits_are_those_of_the_engine(world: World) -> None:
    assert (member_rules.MAX_VOTERS, member_rules.MAX_MEMBERS) == (
        change_rules.MAX_VOTERS,
        change_rules.MAX_MEMBERS,
    )
    for number in range(4, member_rules.MAX_MEMBERS + 1):
        joined(world, f"node-{number}")
        refused = world.do(c.PromoteMember(request(), f"node-{number}"))
        assert refused.code == ("MEMBER_LIMIT" if number > member_rules.MAX_VOTERS else "")
    assert world.do(adding("one-more")).code == "MEMBER_LIMIT"


def test_the_last_voter_stays(world: World) -> None:
    joined(world)
    for node in NODES[1:]:
        assert world.do(c.RemoveMember(request(), node)).changed
    assert world.do(c.RemoveMember(request(), "node-1")).code == "LAST_VOTER"
    assert world.do(c.TransferLeadership(request(), "", "node-1")).code == "LAST_VOTER"


def test_who_is_removed_is_forgotten_and_a_new_root_is_wanted(world: World) -> None:
    world.do(adding("node-4"))
    assert world.do(c.RemoveMember(request(), "node-4")).changed
    needed = [world.state.root_needed]
    assert world.do(c.RemoveMember(request(), "node-3")).changed
    needed.append(world.state.root_needed)
    assert needed == [False, True], "the first never joined, so it knows no root"
    assert "node-3" not in world.state.nodes
    assert "node-3" not in world.state.roots[1].shares
    assert world.do(c.RegisterNode("node-3", b"m", b"x")).code == "NOT_A_MEMBER"


def test_no_epoch_is_staged_for_who_was_removed_meanwhile(world: World) -> None:
    world.do(c.RemoveMember(request(), "node-3"))
    assert world.stage(2).code == "EPOCH_CONFLICT"


def test_an_epoch_staged_before_a_removal_does_not_count_as_the_new_one(world: World) -> None:
    assert world.stage(2).changed
    world.do(c.RemoveMember(request(), "node-3"))
    world.confirm(2, "node-1", "node-2")
    assert world.do(c.ActivateRoot(2)).changed
    assert world.state.root_needed


def test_a_later_member_confirms_an_epoch_by_a_share_of_its_own(world: World) -> None:
    joined(world)
    assert world.confirm(1, "node-4")[0].code == "NOT_A_VOTER"
    assert world.do(c.ReplaceShare(1, share("node-4", qkd_key_id="q-later"))).changed
    assert world.confirm(1, "node-4")[0].changed
    assert world.state.roots[1].voters == NODES
    assert world.state.roots[1].grade is Grade.QKD_PQC


def test_a_wish_for_another_leader_is_kept_until_it_is_settled(world: World) -> None:
    asked = world.do(c.TransferLeadership(request("t"), "node-2", "node-1"))
    assert asked.changed
    assert world.do(c.TransferLeadership(request("t"), "node-2", "node-1")).replayed
    wish = world.state.handovers[member_rules.HANDOVER]
    assert (wish.target, wish.revision) == ("node-2", asked.revision)
    assert not world.do(c.SettleHandover(wish.revision - 1)).changed
    assert world.do(c.SettleHandover(wish.revision)).changed
    assert not world.do(c.TransferLeadership(request(), "node-1", "node-1")).changed
    joined(world)
    assert world.do(c.TransferLeadership(request(), "node-4", "node-1")).code == "MEMBER_NOT_READY"


def test_a_token_gives_one_certificate_and_the_same_request_always_the_same(world: World) -> None:
    world.do(adding())
    first = world.do(redeeming(tag="r"))
    assert first.certificate == b"certificate for " + CSR[:4]
    assert world.do(redeeming(tag="r")).certificate == first.certificate
    later = world.do(redeeming())
    assert (later.certificate, later.changed) == (first.certificate, False)
    assert world.do(redeeming(csr=bytes(32))).code == "JOIN_TOKEN_USED"


def test_a_token_is_for_one_node_and_for_a_time(world: World) -> None:
    world.do(adding())
    joined(world, "node-5")
    assert world.do(redeeming(node_id="node-5", token=CSR)).code == "JOIN_TOKEN_INVALID"
    assert world.do(redeeming(), later_ms=HOUR_MS + 1).code == "JOIN_TOKEN_EXPIRED"
    assert world.do(c.AdvanceTime(), later_ms=25 * HOUR_MS).code == ""
    assert world.do(redeeming()).code == "JOIN_TOKEN_INVALID"
    assert world.state.join_tokens == {}


def test_a_newer_token_outlives_the_memory_of_an_older_one(world: World) -> None:
    world.do(adding())
    world.do(adding(token=bytes(32)), later_ms=HOUR_MS)
    world.do(c.AdvanceTime(), later_ms=24 * HOUR_MS)
    assert world.state.join_tokens["node-4"].token_hash == bytes(32)


def test_members_tokens_and_wishes_are_in_snapshots(world: World) -> None:
    world.do(adding())
    world.do(c.TransferLeadership(request(), "", "node-1"))
    again = restore(snapshot(world.state))
    assert (again.members, again.join_tokens) == (world.state.members, world.state.join_tokens)
    assert digest(again) == digest(world.state)
