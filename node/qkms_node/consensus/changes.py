"""Membership changes: how one enters the log, and who is let in meanwhile.

Mends of PySyncObj: changes that are neither serialised nor logged (E). Here a
change is a log entry with the whole new configuration. The leader appends one
only when an entry of its own term is committed and the change before is too,
so that no two uncommitted configurations ever decide side by side.

Members tell each other the newest configuration that they know, so that a
member whose log lags lets those in whom it has not heard of yet: one of them
may be its next leader. That only opens the network; what decides is the log.
"""

from collections.abc import Callable, Mapping
from itertools import count

import msgspec

from qkms_node.consensus.change_rules import Change, ChangeImpossible, changed
from qkms_node.consensus.configuration import NOBODY, Configuration, Placed
from qkms_node.consensus.core import Core
from qkms_node.consensus.entries import encode_configuration
from qkms_node.consensus.leading import Leading
from qkms_node.consensus.messages import ChangeAnswer, ChangeRequest, KnownMembers
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.proposals import Proposals
from qkms_node.consensus.replica import ChangeRefused, NotCommitted, OutcomeUnknown, Role

Admit = Callable[[Mapping[str, str]], None]


class Changes:
    """`seeds`: whom this member lets in while it knows of no configuration (id -> host:port)."""

    def __init__(
        self, core: Core, leading: Leading, proposals: Proposals, admit: Admit, seeds: Mapping[str, str]
    ) -> None:
        self._core = core
        self._leading = leading
        self._proposals = proposals
        self._admit = admit
        self._seeds = seeds
        self._numbers = count(1)
        self._asked: dict[int, tuple[str, Proposal]] = {}  # forwarded: the leader asked, and for whom
        self._told = Placed(0, 0, NOBODY)  # the newest that a peer told of
        self._told_version = 0
        self._passed_on: Placed | None = None
        self._seen = (-1, -1, -1)
        self._takes_part = False

    # Who is let in.

    def step(self) -> None:
        """Lets in, replicates to, and drops whoever the log says by now; called once per tick."""
        core, log = self._core, self._core.members.log
        seen = (log.version, log.at(core.commit_index).index, self._told_version)
        if seen == self._seen:
            return
        self._seen = seen
        if log.newest != self._passed_on:
            self._passed_on = log.newest
            self._report()
            for peer in sorted(core.connected):
                self._tell(peer)
        # Whoever is being removed takes part until that is committed, and so may learn of it.
        everyone = log.members_since(core.commit_index)
        self._leading.set_followers(sorted(peer for peer in everyone if peer != core.id))
        known = self._told.configuration.members if self._told.is_newer_than(log.newest) else {}
        self._admit({**known, **everyone} or self._seeds)
        if self._takes_part and core.id not in everyone:
            core.report("consensus.removed", index=log.newest.index)
        self._takes_part = core.id in everyone

    def _report(self) -> None:
        newest = self._core.members.log.newest
        voters, learners = (" ".join(part) for part in msgspec.structs.astuple(newest.configuration))
        self._core.report("consensus.members", voters=voters, learners=learners, index=newest.index)

    def peer_connected(self, peer: str) -> None:
        self._tell(peer)

    def _tell(self, peer: str) -> None:
        newest = self._core.members.log.newest
        if newest.index:
            self._core.send(peer, KnownMembers(newest))

    def on_known_members(self, message: KnownMembers) -> None:
        if message.newest.is_newer_than(self._told):
            self._told = message.newest
            self._told_version += 1

    # Changes.

    def propose(self, proposal: Proposal, change: Change) -> None:
        """A change that a caller of this node wants; the answer is the new configuration, encoded."""
        core = self._core
        self._proposals.watch(proposal)
        if core.role is Role.LEADER:
            try:
                index = self._enter(change)
            except NotCommitted as refusal:
                self._proposals.end(proposal, refusal)
            else:
                self._proposals.expect(proposal, index, core.term)
        elif core.leader is not None and core.leader in core.connected:
            number = next(self._numbers)
            self._asked[number] = core.leader, proposal
            proposal.left_queue = True
            core.send(core.leader, ChangeRequest(number, change))
        else:
            self._proposals.end(proposal, NotCommitted("no leader is known; try again"))

    def on_change_request(self, peer: str, message: ChangeRequest) -> None:
        try:
            index = self._enter(message.change)
        except NotCommitted as refusal:
            answer = ChangeAnswer(message.seq, str(refusal), isinstance(refusal, ChangeRefused), 0, 0)
        else:
            answer = ChangeAnswer(message.seq, "", False, index, self._core.term)
        self._core.send(peer, answer)

    def on_change_answer(self, message: ChangeAnswer) -> None:
        _, proposal = self._asked.pop(message.seq, ("", None))
        if proposal is None:
            return
        if message.problem:
            kind = ChangeRefused if message.refused else NotCommitted
            self._proposals.end(proposal, kind(message.problem))
        else:
            self._proposals.expect(proposal, message.index, message.index_term)

    def lost(self, peer: str) -> None:
        """The connection to `peer` is gone, with the answers that it owed."""
        for number in [n for n, (asked, _) in self._asked.items() if asked == peer]:
            _, proposal = self._asked.pop(number)
            self._proposals.end(proposal, OutcomeUnknown(f"{peer} was lost before it answered"))

    def found(self) -> None:
        """As a leader whose log names no members: puts the operator's list into it."""
        if self._core.members.log.newest.index == 0:
            self._append(self._core.members.configuration)

    def _enter(self, change: Change) -> int:
        """The index of the entry that makes the change. Raises NotCommitted or ChangeRefused."""
        core = self._core
        newest = core.members.log.newest
        if core.role is not Role.LEADER:
            raise NotCommitted("this node does not lead any more; try again")
        if core.commit_index < max(core.no_op_index, newest.index):
            raise NotCommitted(f"the membership of entry {newest.index} is not committed yet; try again")
        if self._leading.transferring:
            raise NotCommitted("leadership is being handed over; try again")
        try:
            after = changed(newest.configuration, change)
        except ChangeImpossible as problem:
            raise ChangeRefused(str(problem)) from None
        if after != newest.configuration:
            self._check_prudent(change, after)
        return self._append(after)

    def _check_prudent(self, change: Change, after: Configuration) -> None:
        core, member = self._core, change.member
        if change.kind == "remove" and member == core.id:
            raise ChangeRefused(f"{member} leads; hand leadership over first")
        if change.kind == "promote" and not self._leading.is_caught_up(member):
            raise NotCommitted(f"{member} has not caught up with the log; try again when it has")
        if not after.is_quorum({core.id, *filter(self._leading.is_caught_up, after.voters)}):
            raise ChangeRefused(
                f"of the voters after it, {', '.join(after.voters)}, no majority is connected to the leader and "
                "holds the log; bring back those that are down, and let those that lag catch up, first"
            )

    def _append(self, configuration: Configuration) -> int:
        core = self._core
        index = core.last_index + 1
        core.append([(encode_configuration(configuration), index, core.term)])
        return index
