"""Single rules that orderly delivery hides: doubled votes, late overlapping entries, old answers."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest
from tests.unit.qkms_node.consensus.world_parts import History, Machine

from qkms_node.consensus.core import ProtocolBroken
from qkms_node.consensus.entries import encode_batch
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.messages import (
    Append,
    AppendAnswer,
    Commit,
    Forward,
    Message,
    RequestVote,
    TimeoutNow,
    Vote,
)
from qkms_node.consensus.progress import Mode, Progress
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.raft import Environment, Raft
from qkms_node.consensus.replica import NotCommitted, Role
from qkms_node.consensus.settings import Limits, SettingsRejected, Timing
from qkms_node.consensus.snapshot_store import SnapshotStore
from qkms_node.consensus.snapshots import Pause

T = TypeVar("T")


class Member:
    """One engine, of three if nothing else is said; what it sends is kept."""

    def __init__(
        self,
        folder: Path,
        entries: int = 0,
        names: tuple[str, ...] = ("n1", "n2", "n3"),
        *,
        newcomer: bool = False,
        history: History | None = None,
    ) -> None:
        journal = DurableJournal(folder / "journal", "world", "n1", 100_000)
        for index in range(2, 2 + entries):
            journal.add(encode_batch(index, [b"old"]), index, 1)
        if not newcomer:
            journal.newcomer.caught_up()
        if entries:
            journal.setCurrentTerm(1, None)
        self.sent: list[tuple[str, Message]] = []
        self.jobs: list[Callable[[], None]] | None = None  # a list: work of the background waits in it
        environment = Environment(self, self._in_background, lambda *_, **__: None, random.Random(1))
        store = SnapshotStore(folder / "snapshots", "world")
        self.machine = Machine(history or History())
        self.raft = Raft(
            "n1",
            {name: f"{name}:1" for name in names},
            "world",
            journal,
            store,
            self.machine,
            Timing(),
            Limits(),
            environment,
        )
        for peer in ("n2", "n3"):
            self.raft.peer_connected(peer)

    def _in_background(self, work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
        def job() -> None:
            result: T | BaseException
            try:
                result = work(lambda: None)
            except Exception as error:  # raised again by the engine
                result = error
            done(result)

        if self.jobs is None:
            job()
        else:
            self.jobs.append(job)

    def send(self, peer: str, messages: list[Message]) -> None:
        self.sent += [(peer, message) for message in messages]

    def flush(self) -> None:
        """Nothing is held back."""

    def admit(self, members: Mapping[str, str]) -> None:
        """Everybody is let in."""

    def last(self, kind: type) -> Message:
        return next(message for _, message in reversed(self.sent) if isinstance(message, kind))

    def role(self) -> Role:
        return self.raft.core.role

    def stand(self) -> None:
        """Becomes a candidate of the next term."""
        self.raft.core.elect_now()
        self.raft.elections._approve()
        self.raft.tick()
        assert self.raft.core.role is Role.CANDIDATE


def entry(index: int, term: int) -> tuple[bytes, int, int]:
    return encode_batch(index, [f"{index}-{term}".encode()]), index, term


def test_two_votes_of_one_member_are_one(tmp_path: Path) -> None:
    """L: of five members, three must vote."""
    member = Member(tmp_path, entries=1, names=("n1", "n2", "n3", "n4", "n5"))
    core = member.raft.core
    member.stand()
    for _ in range(3):
        member.raft.receive("n2", Vote(core.term, True))
    assert core.role is Role.CANDIDATE
    member.raft.receive("n3", Vote(core.term, True))
    assert member.raft.core.role is Role.LEADER


def test_a_vote_of_an_earlier_term_does_not_count(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.stand()
    earlier = member.raft.core.term
    member.stand()
    member.raft.receive("n2", Vote(earlier, True))
    assert member.raft.core.role is Role.CANDIDATE


def test_one_vote_per_term_and_the_same_one_again(tmp_path: Path) -> None:
    member = Member(tmp_path)
    answers = []
    for candidate in ("n2", "n3", "n2"):
        member.raft.receive(candidate, RequestVote(5, 1, 0, False))
        member.raft.tick()
        answers.append(member.last(Vote))
    assert answers == [Vote(5, True), Vote(5, False), Vote(5, True)]


def test_the_vote_survives_a_restart(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.raft.receive("n2", RequestVote(5, 1, 0, False))
    member.raft.tick()
    again = Member(tmp_path)
    again.raft.receive("n3", RequestVote(5, 1, 0, False))
    again.raft.tick()
    assert again.last(Vote) == Vote(5, False)


def test_a_candidate_with_a_shorter_log_gets_no_vote(tmp_path: Path) -> None:
    member = Member(tmp_path, entries=3)
    member.raft.receive("n2", RequestVote(5, 3, 1, False))
    member.raft.tick()
    assert member.last(Vote) == Vote(5, False)


def test_a_member_with_a_new_disk_neither_votes_nor_stands_until_it_has_caught_up(tmp_path: Path) -> None:
    """It may have acknowledged, before it lost its disk, entries that it has not got back yet."""
    member = Member(tmp_path, entries=3, newcomer=True)
    member.raft.core.elect_now()
    member.raft.tick()
    assert member.sent == []
    member.raft.receive("n2", RequestVote(2, 9, 1, False))
    member.raft.tick()
    vote = member.last(Vote)
    assert isinstance(vote, Vote)
    assert not vote.granted
    member.raft.receive("n2", Append(3, 1, 4, 1, 4, []))
    member.raft.receive("n2", TimeoutNow(3))
    member.raft.tick()
    assert member.role() is Role.FOLLOWER
    assert member.raft.core.term == 3


def test_while_the_leader_lives_nobody_else_is_voted_for(tmp_path: Path) -> None:
    """M: not even its higher term is adopted."""
    member = Member(tmp_path)
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, []))
    member.raft.receive("n3", RequestVote(9, 50, 8, False))
    assert member.raft.core.term == 3
    member.raft.receive("n3", RequestVote(9, 50, 8, True))
    assert member.raft.core.term == 9


def test_an_overlapping_message_cuts_nothing_that_matches(tmp_path: Path) -> None:
    """D: a late copy of the first entries must not take the later ones away."""
    member = Member(tmp_path)
    entries = [entry(index, 3) for index in range(2, 8)]
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, entries))
    member.raft.receive("n2", Append(3, 2, 1, 0, 1, entries[:2]))
    assert member.raft.core.last_index == 7


def test_entries_that_differ_are_replaced(tmp_path: Path) -> None:
    member = Member(tmp_path, entries=5)
    member.raft.receive("n2", Append(3, 1, 3, 1, 1, [entry(4, 3)]))
    assert [member.raft.core.term_at(index) for index in (3, 4, 5)] == [1, 3, None]


def test_a_leader_that_replaces_a_committed_entry_stops_this_member(tmp_path: Path) -> None:
    member = Member(tmp_path, entries=3)
    member.raft.receive("n2", Append(3, 1, 4, 1, 4, []))
    with pytest.raises(ProtocolBroken):
        member.raft.receive("n2", Append(3, 2, 2, 1, 4, [entry(3, 3)]))


def test_two_leaders_of_one_term_stop_this_member(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, []))
    with pytest.raises(ProtocolBroken):
        member.raft.receive("n3", Append(3, 1, 1, 0, 1, []))


def test_the_commit_index_moves_only_over_what_was_verified(tmp_path: Path) -> None:
    """A: five entries of an old leader are in the log, one of them is verified."""
    member = Member(tmp_path, entries=5)
    member.raft.receive("n2", Append(3, 1, 2, 1, 6, []))
    assert member.raft.core.commit_index == 2
    member.raft.receive("n2", Commit(3, 6))
    assert member.raft.core.commit_index == 2


def test_a_log_that_does_not_reach_is_refused_with_its_end(tmp_path: Path) -> None:
    member = Member(tmp_path, entries=2)
    member.raft.receive("n2", Append(3, 7, 9, 2, 1, [entry(10, 3)]))
    member.raft.tick()
    assert member.last(AppendAnswer) == AppendAnswer(3, 7, False, 3)


def test_a_deposed_leader_is_told_the_term(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.raft.receive("n2", Append(5, 1, 1, 0, 1, []))
    member.raft.receive("n3", Append(4, 1, 1, 0, 1, []))
    member.raft.tick()
    answer = member.last(AppendAnswer)
    assert isinstance(answer, AppendAnswer)
    assert (answer.term, answer.ok) == (5, False)


def test_entries_with_a_gap_are_not_taken(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, [entry(2, 3), entry(4, 3)]))
    assert member.raft.core.last_index == 1


def test_a_stranger_to_the_configuration_counts_for_nothing(tmp_path: Path) -> None:
    """It may be the next leader of a newer configuration and is heard, but no majority is made with it."""
    member = Member(tmp_path, entries=1)
    member.stand()
    member.raft.receive("n9", Vote(member.raft.core.term, True))
    assert member.role() is Role.CANDIDATE
    member.raft.receive("n2", Vote(member.raft.core.term, True))
    assert member.role() is Role.LEADER
    member.raft.receive("n9", AppendAnswer(member.raft.core.term, 1, True, member.raft.core.last_index))
    member.raft.tick()
    assert member.raft.core.commit_index == 1


def test_a_follower_refuses_what_is_forwarded_to_it(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.raft.receive("n2", Forward(1, [b"command"]))
    member.raft.tick()
    assert member.raft.core.last_index == 1


def test_forwards_whose_callers_gave_up_do_not_hold_others(tmp_path: Path) -> None:
    """K: four groups are under way unanswered; the fifth must still go out."""
    member = Member(tmp_path)
    member.raft.receive("n2", Append(3, 1, 1, 0, 1, []))
    for number in range(Limits().forwards_in_flight):
        member.raft.proposals.add(Proposal(b"given up", number, None))
        member.raft.proposals.forward()
    member.raft.proposals.expire()
    member.raft.proposals.add(Proposal(b"waiting", member.raft.core.now() + 5, None))
    member.raft.tick()
    forwards = [message for _, message in member.sent if isinstance(message, Forward)]
    assert forwards[-1].commands == [b"waiting"]


def test_a_low_disk_refuses_proposals_for_certain(tmp_path: Path) -> None:
    """I: reads and the log of others go on; only new proposals are refused."""
    member = Member(tmp_path)
    member.raft.proposals.disk_full = True
    proposal = Proposal(b"command", member.raft.core.now() + 5, None)
    member.raft.proposals.add(proposal)
    assert isinstance(proposal.result, NotCommitted)


def test_a_command_over_the_limit_is_refused_for_certain(tmp_path: Path) -> None:
    member = Member(tmp_path)
    proposal = Proposal(bytes(Limits().command_bytes + 1), member.raft.core.now() + 5, None)
    member.raft.proposals.add(proposal)
    assert isinstance(proposal.result, NotCommitted)


def test_an_answer_to_an_older_probe_changes_nothing() -> None:
    """C: only the probe that is under way may move the place where the logs are compared."""
    progress = Progress(next_index=100)
    old, new = progress.number(), progress.number()
    progress.probed(old)
    progress.probed(new)
    assert not progress.refused(old, 10)
    assert progress.next == 100
    assert progress.refused(new, 10)
    assert (progress.mode, progress.next) == (Mode.PROBE, 11)


def test_what_a_follower_acknowledged_never_goes_back() -> None:
    progress = Progress(next_index=50)
    progress.probed(progress.number())
    progress.accepted(1, 40)
    progress.accepted(1, 30)
    assert (progress.match, progress.mode) == (40, Mode.STREAM)


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_s": 0.06},
        {"election_timeout_min_s": 0.5},
        {"leader_fallback_s": 0.01},
        {"heartbeat_s": 0.0},
    ],
)
def test_contradicting_times_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsRejected):
        Timing(**wrong)
