"""What leaves in which order within a round, and what costs no round of its own."""

from pathlib import Path

import pytest
from pysyncobj import syncobj as library
from tests.unit.qkms_node.consensus.test_consensus_rules import Member, entry

from qkms_node.consensus.messages import (
    Append,
    AppendAnswer,
    Commit,
    Forward,
    Probe,
    ProbeAnswer,
    ReadIndex,
    ReadIndexAnswer,
    Vote,
)
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.replica import OutcomeUnknown, Role
from qkms_node.consensus.settings import Timing

BEFORE_HEARTBEAT_S = 0.02


class Clock:
    """Stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(library, "monotonicTime", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def acknowledge(member: Member, peer: str) -> None:
    """`peer` holds all that it was sent."""
    append = next(m for to, m in reversed(member.sent) if to == peer and isinstance(m, Append))
    last = append.prev_index + len(append.entries)
    member.raft.receive(peer, AppendAnswer(append.term, append.seq, True, last))


def confirm(member: Member) -> None:
    """n2 follows still, as of the last probe."""
    probe = next(m for to, m in reversed(member.sent) if to == "n2" and isinstance(m, Probe))
    member.raft.receive("n2", ProbeAnswer(probe.term, probe.seq))


def leader(folder: Path) -> Member:
    """Leads n2 and n3, both of which know all that is committed."""
    member = Member(folder, entries=1)
    member.stand()
    member.raft.receive("n2", Vote(member.raft.core.term, True))
    for _ in range(4):
        member.raft.tick()
        for peer in ("n2", "n3"):
            acknowledge(member, peer)
    member.raft.leading.heartbeat()
    member.raft.tick()
    confirm(member)
    assert member.raft.core.role is Role.LEADER
    assert member.raft.core.commit_index == member.raft.core.last_index
    member.sent.clear()
    return member


def propose(member: Member) -> Proposal:
    proposal = Proposal(b"command", member.raft.core.now() + 5, None)
    member.raft.proposals.add(proposal)
    return proposal


def test_a_commit_travels_with_the_next_entries(tmp_path: Path, clock: Clock) -> None:
    member = leader(tmp_path)
    for _ in range(2):
        propose(member)
        member.raft.tick()
        acknowledge(member, "n2")
        member.raft.tick()
    appends = [m for to, m in member.sent if to == "n2" and isinstance(m, Append)]
    assert [m.commit_index for m in appends] == [appends[0].prev_index, appends[0].prev_index + 1]
    assert not [m for _, m in member.sent if isinstance(m, Commit)]


def test_a_commit_that_no_entries_follow_is_told_soon(tmp_path: Path, clock: Clock) -> None:
    member = leader(tmp_path)
    propose(member)
    member.raft.tick()
    acknowledge(member, "n2")
    wait = member.raft.tick()
    assert wait < BEFORE_HEARTBEAT_S
    clock.now += wait
    member.raft.tick()
    told = Commit(member.raft.core.term, member.raft.core.last_index)
    assert member.sent[-2:] == [("n2", told), ("n3", told)]
    assert member.raft.tick() > wait


def test_a_follower_that_forwarded_learns_the_commit_at_once(tmp_path: Path, clock: Clock) -> None:
    member = leader(tmp_path)
    member.raft.receive("n3", Forward(1, [b"command"]))
    member.raft.tick()
    acknowledge(member, "n2")
    member.raft.tick()
    assert [to for to, m in member.sent if isinstance(m, Commit)] == ["n3"]


def test_a_read_index_does_not_arrive_before_the_commit_that_it_names(tmp_path: Path, clock: Clock) -> None:
    member = leader(tmp_path)
    propose(member)
    member.raft.tick()
    acknowledge(member, "n2")
    member.raft.tick()
    member.raft.receive("n3", ReadIndex(7, False))
    member.raft.tick()
    confirm(member)
    member.raft.tick()
    core = member.raft.core
    told = [m for to, m in member.sent if to == "n3" and isinstance(m, Commit | ReadIndexAnswer)]
    assert told == [Commit(core.term, core.commit_index), ReadIndexAnswer(7, True, core.commit_index)]


def test_a_follower_answers_before_it_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(tmp_path)
    answered: list[bool] = []

    def apply(index: int, time_ms: int, command: bytes) -> bytes:
        answered.append(any(isinstance(message, AppendAnswer) for _, message in member.sent))
        return b""

    monkeypatch.setattr(member.machine, "apply", apply)
    member.raft.receive("n2", Append(3, 1, 1, 0, 2, [entry(2, 3)]))
    member.raft.tick()
    assert answered == [True]


def test_what_a_follower_answers_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(tmp_path)
    pending: list[bool] = []
    monkeypatch.setattr(member, "flush", lambda: pending.append(member.raft.core.journal.awaits_flush))
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, [entry(2, 3)]))
    member.raft.tick()
    assert not any(pending)
    assert isinstance(member.sent[0][1], AppendAnswer)


def test_what_a_deposed_leader_leaves_unanswered_is_given_up_soon(tmp_path: Path, clock: Clock) -> None:
    """A cut-off leader says nothing, and its connection counts as lost much later."""
    member = Member(tmp_path)
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, []))
    waiting = Proposal(b"waiting", member.raft.core.now() + 5, None)
    member.raft.proposals.add(waiting)
    member.raft.tick()
    assert isinstance(member.last(Forward), Forward)
    member.raft.receive("n3", Append(4, 1, 1, 0, 1, []))
    member.raft.tick()
    assert waiting not in member.raft.proposals.ended, "its answer may be on its way"
    clock.now += Timing().election_timeout_min_s + 0.01
    member.raft.receive("n3", Append(4, 1, 1, 0, 1, []))
    member.raft.tick()
    assert isinstance(waiting.result, OutcomeUnknown)
    assert "n2 was deposed" in str(waiting.result)
    again = Proposal(b"again", member.raft.core.now() + 5, None)
    member.raft.proposals.add(again)
    member.raft.tick()
    forwards = [(peer, sent.commands) for peer, sent in member.sent if isinstance(sent, Forward)]
    assert forwards[1:] == [("n3", [b"again"])]
