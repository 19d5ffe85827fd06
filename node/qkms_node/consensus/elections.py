"""Who may lead: pre-vote, votes, and the leader's request to be succeeded.

Mends of PySyncObj: no pre-vote (M: a rejoining node deposes a healthy leader),
votes counted without voter (L). An election of the library begins only after a
majority said in a pre-vote that they would grant it and hear no leader; a node
that hears a live leader neither grants nor adopts the candidate's term.

Who votes here need not be a voter of the configuration that this member knows:
the candidate counts the votes by its own, which may be newer.
"""

from typing import Any

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import PreVote, PreVoteAnswer, RequestVote, TimeoutNow, Vote
from qkms_node.consensus.newcomer import Newcomer
from qkms_node.consensus.replica import Role

NEVER = float("-inf")


class Elections:
    """Votes of this node and for this node."""

    def __init__(self, core: Core, newcomer: Newcomer) -> None:
        self._core = core
        self._newcomer = newcomer
        self._heard_leader_at = NEVER
        self._proposed = 0  # the term a pre-vote is held for
        self._pre_votes: set[str] = set()
        self._votes: set[str] = set()
        self._approved_until = NEVER
        self._transfer = False

    def heard_leader(self) -> None:
        """The leader of the current term spoke."""
        self._heard_leader_at = self._core.now()
        if self._transfer and self.approved:
            return
        self._approved_until = NEVER
        self._core.postpone_election()

    def hold(self) -> None:
        """Called before each tick of the library: turns a due election into a pre-vote first."""
        core = self._core
        if core.role is Role.LEADER or self.approved or core.now() <= core.election_deadline:
            return
        self._transfer = False
        core.postpone_election()
        core.follow(None)
        if not self._may_lead():
            return
        self._proposed = core.term + 1
        self._pre_votes = {core.id}
        if core.members.is_alone:
            self._approve()
            return
        for peer in core.members.other_voters:
            core.send(peer, PreVote(core.term, core.last_index, core.last_term))

    def term_changed(self, vote: str | None) -> None:
        """The term was set, with `vote` in it: earlier counts are void."""
        self._approved_until = NEVER
        self._proposed = 0
        self._pre_votes = set()
        self._votes = {self._core.id} if vote == self._core.id else set()
        if vote is not None:
            self._newcomer.founded()
        if vote != self._core.id:
            self._transfer = False

    def request(self, message: dict[str, Any]) -> RequestVote:
        """The library's vote request as ours."""
        return RequestVote(message["term"], message["last_log_index"], message["last_log_term"], self._transfer)

    def on_pre_vote(self, peer: str, message: PreVote) -> None:
        core = self._core
        proposed = message.term + 1
        granted = proposed > core.term and self._is_current(message) and not self._leader_lives()
        core.send(peer, PreVoteAnswer(core.term, proposed, granted))

    def on_pre_vote_answer(self, peer: str, message: PreVoteAnswer) -> None:
        core = self._core
        if not message.granted or message.proposed != self._proposed or core.role is Role.LEADER:
            return
        self._pre_votes.add(peer)
        if self._suffice(self._pre_votes):
            self._approve()

    def on_request_vote(self, peer: str, message: RequestVote) -> None:
        core = self._core
        if self._leader_lives() and not message.transfer:
            return
        if message.term > core.term:
            core.set_term(message.term, None)
            core.follow(None)
        free = core.voted_for in (None, peer)
        granted = message.term == core.term and core.role is not Role.LEADER and free and self._is_current(message)
        if granted:
            core.set_term(core.term, peer)
            core.postpone_election()
        core.send(peer, Vote(core.term, granted))

    def on_vote(self, peer: str, message: Vote) -> None:
        core = self._core
        if core.role is Role.CANDIDATE and message.granted and message.term == core.term:
            self._votes.add(peer)
            if self._suffice(self._votes):
                core.win()

    def on_timeout_now(self, peer: str, message: TimeoutNow) -> None:
        core = self._core
        is_follower = core.role is Role.FOLLOWER and peer == core.leader
        if is_follower and message.term == core.term and self._may_lead():
            self._transfer = True
            self._approve()

    def _may_lead(self) -> bool:
        """A newcomer is as careful with its own vote for itself: it may lack what it once acknowledged."""
        core = self._core
        return core.members.is_voter and self._newcomer.supports(core.last_term)

    def _suffice(self, votes: set[str]) -> bool:
        """Whether these members can make this one their leader.

        A leader without a log founds the cluster, and only with everybody: members that lost
        their disks, or were told of fewer members than there are, must never found a second one.
        """
        members = self._core.members
        if self._core.last_term == 0:
            return votes >= set(members.configuration.voters)
        return members.is_quorum(votes)

    def _approve(self) -> None:
        self._proposed = 0
        self._approved_until = self._core.now() + self._core.timing.heartbeat_s
        self._core.elect_now()

    @property
    def approved(self) -> bool:
        """Whether an election of this member may begin now."""
        return self._core.now() <= self._approved_until

    def _leader_lives(self) -> bool:
        core = self._core
        if core.role is Role.LEADER:
            return True
        return core.now() - self._heard_leader_at < core.timing.election_timeout_min_s

    def _is_current(self, message: PreVote | RequestVote) -> bool:
        core = self._core
        is_current = (message.last_term, message.last_index) >= (core.last_term, core.last_index)
        return is_current and self._newcomer.supports(message.last_term)
