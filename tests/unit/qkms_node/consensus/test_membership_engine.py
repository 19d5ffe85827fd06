"""How the engine takes membership changes: one at a time, in effect where appended, safe on restart."""

from pathlib import Path

import pytest
from tests.unit.qkms_node.consensus.test_consensus_rules import Member, entry

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.entries import Entry, encode_configuration
from qkms_node.consensus.messages import Append, AppendAnswer, ChangeAnswer, ChangeRequest, TimeoutNow, Vote
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.replica import ChangeRefused, NotCommitted, Role

FAR = float("inf")
TWO = Configuration({"n1": "n1:1", "n2": "n2:1"})
FOUR = Configuration({f"n{i}": f"n{i}:1" for i in range(1, 5)})
LEARNER = Configuration({"n2": "n2:1", "n3": "n3:1"}, {"n1": "n1:1"})


def placed(configuration: Configuration, index: int, term: int = 1) -> Entry:
    return encode_configuration(configuration), index, term


def follower(folder: Path, *entries: Entry) -> Member:
    """Holds these entries of the leader n2 of term 1."""
    member = Member(folder)
    member.raft.receive("n2", Append(1, 1, 1, 0, 1, list(entries)))
    member.raft.tick()
    return member


def leading(folder: Path) -> Member:
    """Leads term 2 of three, its first entries committed with n2."""
    member = Member(folder, entries=1)
    member.stand()
    member.raft.receive("n2", Vote(2, True))
    acknowledge(member, "n2")
    assert member.role() is Role.LEADER
    return member


def acknowledge(member: Member, peer: str) -> None:
    """`peer` holds everything."""
    core = member.raft.core
    member.raft.tick()
    seq = max(m.seq for to, m in member.sent if to == peer and isinstance(m, Append))
    member.raft.receive(peer, AppendAnswer(core.term, seq, True, core.last_index))
    member.raft.tick()


def ask(member: Member, change: Change) -> Proposal:
    proposal = Proposal(b"", FAR, None, change)
    member.raft.propose(proposal)
    return proposal


def configuration(member: Member) -> Configuration:
    return member.raft.core.members.configuration


def test_a_configuration_is_in_effect_before_it_is_committed_and_gone_when_it_is_cut(tmp_path: Path) -> None:
    member = follower(tmp_path, entry(2, 1), placed(TWO, 3))
    assert configuration(member) == TWO
    member.raft.receive("n3", Append(2, 1, 2, 1, 1, [entry(3, 2)]))
    assert set(configuration(member).voters) == {"n1", "n2", "n3"}


def test_the_log_wins_over_the_operators_list_at_a_restart(tmp_path: Path) -> None:
    follower(tmp_path, placed(FOUR, 2))
    assert configuration(Member(tmp_path)) == FOUR


def test_a_learner_never_stands_for_election(tmp_path: Path) -> None:
    member = follower(tmp_path, placed(LEARNER, 2))
    member.raft.core.elect_now()
    member.raft.tick()
    assert member.role() is Role.FOLLOWER
    member.raft.receive("n2", Append(1, 2, 2, 1, 2, []))
    member.raft.receive("n2", TimeoutNow(1))
    member.raft.tick()
    assert member.role() is Role.FOLLOWER
    assert member.raft.core.term == 1


def test_a_learners_votes_and_copies_count_for_nothing(tmp_path: Path) -> None:
    with_learners = Configuration({"n1": "n1:1", "n2": "n2:1"}, {"n3": "n3:1", "n4": "n4:1"})
    member = follower(tmp_path, placed(with_learners, 2))
    member.stand()
    member.raft.receive("n3", Vote(2, True))
    member.raft.receive("n4", Vote(2, True))
    assert member.role() is Role.CANDIDATE
    member.raft.receive("n2", Vote(2, True))
    member.raft.tick()
    acknowledge(member, "n3")
    assert member.raft.core.commit_index < member.raft.core.last_index
    acknowledge(member, "n2")
    assert member.raft.core.commit_index == member.raft.core.last_index


def test_a_cluster_is_founded_by_all_its_members(tmp_path: Path) -> None:
    """Two members with empty disks must not found a second cluster beside a third that knows better."""
    member = Member(tmp_path)
    member.stand()
    member.raft.receive("n2", Vote(1, True))
    assert member.role() is Role.CANDIDATE
    member.raft.receive("n3", Vote(1, True))
    assert member.role() is Role.LEADER


def test_the_founder_puts_the_operators_list_into_the_log(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.stand()
    for peer in ("n2", "n3"):
        member.raft.receive(peer, Vote(1, True))
    assert member.raft.core.members.log.newest.index == member.raft.core.last_index == 3


def test_one_change_waits_for_the_one_before(tmp_path: Path) -> None:
    member = leading(tmp_path)
    first = ask(member, Change("add_learner", "n4", "n4:1"))
    second = ask(member, Change("add_learner", "n5", "n5:1"))
    assert isinstance(second.result, NotCommitted)
    assert "not committed yet" in str(second.result)
    acknowledge(member, "n2")
    assert isinstance(first.result, bytes)
    assert ask(member, Change("add_learner", "n5", "n5:1")).result is None


def test_no_change_before_an_entry_of_the_leaders_own_term_is_committed(tmp_path: Path) -> None:
    """Else two leaders could each commit a change that the other does not know (Ongaro, 2015)."""
    member = Member(tmp_path, entries=1)
    member.stand()
    member.raft.receive("n2", Vote(2, True))
    refused = ask(member, Change("add_learner", "n4", "n4:1")).result
    assert type(refused) is NotCommitted


def test_a_change_that_holds_is_granted_again(tmp_path: Path) -> None:
    member = leading(tmp_path)
    for _ in range(2):
        proposal = ask(member, Change("add_learner", "n4", "n4:1"))
        acknowledge(member, "n2")
        assert isinstance(proposal.result, bytes)
    assert set(configuration(member).learners) == {"n4"}


def test_a_learner_that_lags_is_not_promoted(tmp_path: Path) -> None:
    member = leading(tmp_path)
    ask(member, Change("add_learner", "n4", "n4:1"))
    acknowledge(member, "n2")
    lagging = ask(member, Change("promote", "n4")).result
    assert type(lagging) is NotCommitted
    assert "has not caught up" in str(lagging)
    member.raft.peer_connected("n4")
    acknowledge(member, "n4")
    promoted = ask(member, Change("promote", "n4"))
    acknowledge(member, "n2")
    assert promoted.result is None  # of four voters, two hold it
    acknowledge(member, "n4")
    assert isinstance(promoted.result, bytes)


@pytest.mark.parametrize(
    ("change", "why"),
    [(Change("remove", "n1"), "hand leadership over first"), (Change("promote", "n7"), "add it as a learner")],
)
def test_what_can_never_be_is_refused_for_good(tmp_path: Path, change: Change, why: str) -> None:
    refused = ask(leading(tmp_path), change).result
    assert isinstance(refused, ChangeRefused)
    assert why in str(refused)


def test_a_removal_that_would_leave_no_connected_majority_is_refused(tmp_path: Path) -> None:
    """n3 is down: without n2, half of the voters would be."""
    member = leading(tmp_path)
    member.raft.peer_disconnected("n3")
    refused = ask(member, Change("remove", "n2")).result
    assert isinstance(refused, ChangeRefused)
    assert "no majority is connected" in str(refused)


def test_a_voter_that_lags_is_no_reason_to_let_another_go(tmp_path: Path) -> None:
    """n3 is connected, but has acknowledged nothing yet: it may have lost its disk."""
    refused = ask(leading(tmp_path), Change("remove", "n2")).result
    assert isinstance(refused, ChangeRefused)
    assert "catch up" in str(refused)


def test_a_follower_refuses_a_change_that_reaches_it(tmp_path: Path) -> None:
    member = follower(tmp_path, entry(2, 1))
    member.raft.receive("n3", ChangeRequest(4, Change("remove", "n2")))
    member.raft.tick()
    answer = member.last(ChangeAnswer)
    assert isinstance(answer, ChangeAnswer)
    assert "does not lead" in answer.problem


def test_the_removed_member_learns_of_it_and_is_let_go(tmp_path: Path) -> None:
    member = leading(tmp_path)
    ask(member, Change("remove", "n3"))
    acknowledge(member, "n2")
    told = [m for to, m in member.sent if to == "n3" and isinstance(m, Append)]
    assert told[-1].commit_index <= member.raft.core.commit_index
    before = len(member.sent)
    member.raft.tick()
    member.raft.leading.heartbeat()
    member.raft.tick()
    assert {to for to, m in member.sent[before:] if isinstance(m, Append)} == {"n2"}


def test_the_last_voter_commits_the_change_that_made_it_so_only_when_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(tmp_path, entries=1, names=("n1", "n2"))
    member.stand()
    member.raft.receive("n2", Vote(2, True))
    acknowledge(member, "n2")
    ask(member, Change("remove", "n2"))
    journal = member.raft.core.journal
    committed: list[bool] = []
    monkeypatch.setattr(journal, "setRaftCommitIndex", lambda index: committed.append(journal.awaits_flush))
    member.raft.tick()
    member.raft.tick()
    assert member.raft.core.commit_index == member.raft.core.last_index
    assert committed == [False]
