"""Proposals on their way into the log and back: every one ends once, and truthfully.

Mends of PySyncObj (K): callbacks that never fire, and outcomes reported as
definite that are not. A proposal is certainly without effect while it waits
in this node's queue, when the leader says it did not append it, and when
another entry was committed at its place. In all other cases without an
answer its outcome is unknown.

Proposals coalesce: the leader forms one entry from all that wait, a follower
forwards all that wait in one message. Both hold back while enough is under
way, so that the next entry gathers more.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import Forward, ForwardAnswer
from qkms_node.consensus.proposal_book import Book, Group, Proposal
from qkms_node.consensus.replica import ConsensusError, NoQuorum, NotCommitted, OutcomeUnknown, Role

NOT_LEADER = "NOT_LEADER"
QUEUE_FULL = "QUEUE_FULL"
DISK_FULL = "DISK_FULL"
_REFUSALS = {
    QUEUE_FULL: "too many proposals wait at the leader; try again later",
    DISK_FULL: "the disk of the leader is almost full (RESOURCE_EXHAUSTED); free space there",
}


class Proposals:
    """All proposals of this node's callers, and those that followers forwarded to it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._book = Book()
        self._deadlines: list[tuple[float, int, Proposal]] = []
        self._numbers = count(1)
        self.ended: list[Proposal] = []
        self.awaited: dict[str, int] = {}  # follower -> the last entry that holds commands of it
        self.disk_full = False
        self._committed_term = 0
        self._leader: tuple[str | None, float] = (None, 0.0)

    def add(self, proposal: Proposal) -> None:
        """Takes a proposal of a caller of this node."""
        limits, book = self._core.limits, self._book
        size = len(proposal.command)
        if size > limits.command_bytes:
            self.end(
                proposal, NotCommitted(f"a command of {size} bytes, at most {limits.command_bytes} are taken")
            )
        elif len(book.queue) >= limits.queued_commands or book.queued_bytes + size > limits.queued_bytes:
            self.end(proposal, NotCommitted("too many proposals wait at this node; try again later"))
        elif self.disk_full:
            self.end(
                proposal, NotCommitted("the disk of this node is almost full (RESOURCE_EXHAUSTED); free space")
            )
        else:
            book.queue.append(proposal)
            book.queued_bytes += size
            self.watch(proposal)

    def watch(self, proposal: Proposal) -> None:
        """Lets `expire` end it when its deadline has passed."""
        heapq.heappush(self._deadlines, (proposal.deadline, next(self._numbers), proposal))

    def expect(self, proposal: Proposal, index: int, term: int) -> None:
        """The entry (`index`, `term`) carries this proposal alone."""
        proposal.left_queue = True
        self._await_entry(index, term, 0, [proposal])

    @property
    def any_queued(self) -> bool:
        """Whether commands of this node's callers wait to be taken into the log or forwarded."""
        return bool(self._book.queue)

    def forward(self) -> None:
        """As a follower: sends what waits to the leader."""
        core, book = self._core, self._book
        leader = core.leader
        if not book.queue or leader is None or leader not in core.connected:
            return
        # A group whose callers have all given up must not hold the way of others.
        book.forwarded = {
            number: (target, own)
            for number, (target, own) in book.forwarded.items()
            if any(proposal.result is None for proposal in own)
        }
        under_way = sum(target == leader for target, _ in book.forwarded.values())
        for _ in range(under_way, core.limits.forwards_in_flight):
            own = list(self._take_own())
            if not own:
                return
            number = next(self._numbers)
            book.forwarded[number] = leader, own
            core.send(leader, Forward(number, [p.command for p in own]))

    def take_groups(self, max_bytes: int) -> list[Group]:
        """As the leader: what goes into the next entry."""
        book = self._book
        groups: list[Group] = []
        size = 0
        while book.received:
            more = sum(map(len, book.received[0].commands))
            if groups and size + more > max_bytes:
                return groups
            size += more
            groups.append(book.received.popleft())
        own = list(self._take_own(max_bytes - size)) if size < max_bytes else []
        if own:
            groups.append(Group([p.command for p in own], own, None))
        return groups

    def entered(self, index: int, term: int, groups: list[Group]) -> None:
        """The groups are, in this order, the entry (`index`, `term`)."""
        position = 0
        for group in groups:
            if group.origin is None:
                self._book.logged.setdefault(index, []).append((term, position, group.own))
            else:
                peer, number = group.origin
                self.awaited[peer] = index
                self._core.send(peer, ForwardAnswer(number, "", index, term, position))
            position += len(group.commands)

    def on_forward(self, peer: str, message: Forward) -> None:
        core, book = self._core, self._book
        if core.role is not Role.LEADER:
            core.send(peer, ForwardAnswer(message.seq, NOT_LEADER, 0, 0, 0))
        elif self.disk_full:
            core.send(peer, ForwardAnswer(message.seq, DISK_FULL, 0, 0, 0))
        elif sum(len(g.commands) for g in book.received) >= core.limits.queued_commands:
            core.send(peer, ForwardAnswer(message.seq, QUEUE_FULL, 0, 0, 0))
        else:
            book.received.append(Group(message.commands, [], (peer, message.seq)))

    def on_forward_answer(self, message: ForwardAnswer) -> None:
        _, own = self._book.forwarded.pop(message.seq, ("", []))
        if message.refused == NOT_LEADER:
            self._requeue(own)
        elif message.refused:
            self._end_all(own, NotCommitted(_REFUSALS.get(message.refused, message.refused)))
        else:
            self._await_entry(message.index, message.index_term, message.position, own)

    def applied(self, index: int, term: int, answers: list[bytes]) -> None:
        """Entry (`index`, `term`) is committed and was applied with these answers."""
        for entry_term, position, own in self._book.logged.pop(index, ()):
            if entry_term != term:
                self._requeue(own)  # another leader's entry was committed in its place, so it never will be
                continue
            for offset, proposal in enumerate(own):
                self.end(proposal, answers[position + offset])
        self._requeue_before(term)

    def covered(self, index: int) -> None:
        """A snapshot took the place of the entries up to `index`: their answers are lost."""
        for at in [i for i in self._book.logged if i <= index]:
            for _, _, own in self._book.logged.pop(at):
                self._end_all(own, OutcomeUnknown("a snapshot took the place of its entry"))
        term = self._core.term_at(index)
        assert term is not None
        self._requeue_before(term)

    def stopped_leading(self) -> None:
        """Forwarded groups that are not in the log yet go back to where they came from."""
        self.awaited.clear()
        while self._book.received:
            origin = self._book.received.popleft().origin
            assert origin is not None
            self._core.send(origin[0], ForwardAnswer(origin[1], NOT_LEADER, 0, 0, 0))

    def lost(self, peer: str) -> None:
        """The connection to `peer` is gone: what was forwarded and not answered may be in its log or not."""
        book = self._book
        book.received = deque(g for g in book.received if g.origin is None or g.origin[0] != peer)
        for number in [n for n, (target, _) in book.forwarded.items() if target == peer]:
            self._end_all(book.forwarded.pop(number)[1], OutcomeUnknown(f"{peer} was lost before it answered"))

    def expire(self) -> None:
        """Ends the proposals whose deadline has passed, and those that nobody will answer."""
        self._give_up_on_deposed()
        now = self._core.now()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].result is not None):
            proposal = heapq.heappop(self._deadlines)[2]
            if proposal.result is not None:
                continue
            if proposal.left_queue:
                self.end(proposal, OutcomeUnknown("not committed in time; it may still be"))
            elif self._core.leader is None:
                self.end(proposal, NoQuorum("no leader was elected in time"))
            else:
                self.end(proposal, NotCommitted("the deadline passed before it was taken into the log"))

    def _give_up_on_deposed(self) -> None:
        """A leader in whose place another one leads answers soon, if it is heard. What it has not answered by then
        may be in its log or not; who waits can ask again, long before a silent connection counts as lost."""
        core, forwarded = self._core, self._book.forwarded
        if core.leader != self._leader[0]:
            self._leader = core.leader, core.now()
        leader, since = self._leader
        if leader is None or core.now() - since < core.timing.election_timeout_min_s:
            return
        for number, (target, own) in list(forwarded.items()):
            if target != leader:
                del forwarded[number]
                self._end_all(own, OutcomeUnknown(f"{target} was deposed before it answered"))

    def next_deadline(self) -> float:
        """When `expire` has something to do."""
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def end_all(self) -> None:
        """The node stops."""
        for _, _, proposal in self._deadlines:
            if proposal.result is None:
                stopping = "this node stops"
                self.end(proposal, OutcomeUnknown(stopping) if proposal.left_queue else NotCommitted(stopping))

    def _await_entry(self, index: int, term: int, position: int, own: list[Proposal]) -> None:
        if index <= self._core.applied_index:
            self._end_all(own, OutcomeUnknown("the entry was applied before it was known to carry this proposal"))
        else:
            self._book.logged.setdefault(index, []).append((term, position, own))

    def _take_own(self, max_bytes: int | None = None) -> Iterator[Proposal]:
        book = self._book
        room = self._core.limits.entry_bytes if max_bytes is None else max_bytes
        taken = False
        while book.queue:
            size = len(book.queue[0].command)
            if taken and size > room:
                return
            proposal = book.queue.popleft()
            book.queued_bytes -= size
            if proposal.result is None:
                taken = proposal.left_queue = True
                room -= size
                yield proposal

    def _requeue_before(self, term: int) -> None:
        """An entry of `term` is committed: those of earlier terms that are not by now never will be.

        Terms do not fall along a log. Without this, what only a deposed leader holds beyond its
        successor's log waits for entries to come that far.
        """
        if term <= self._committed_term:
            return
        self._committed_term = term
        logged = self._book.logged
        for index in sorted(logged, reverse=True):
            for entry_term, _, own in reversed(logged[index]):
                if entry_term < term:
                    self._requeue(own)
            logged[index] = [waiting for waiting in logged[index] if waiting[0] >= term]
            if not logged[index]:
                del logged[index]

    def _requeue(self, own: list[Proposal]) -> None:
        for proposal in reversed(own):
            if proposal.change is not None:
                self.end(proposal, NotCommitted("another leader's entry took its place; try again"))
            elif proposal.result is None:
                proposal.left_queue = False
                self._book.queue.appendleft(proposal)
                self._book.queued_bytes += len(proposal.command)

    def _end_all(self, own: list[Proposal], result: ConsensusError) -> None:
        for proposal in own:
            self.end(proposal, result)

    def end(self, proposal: Proposal, result: bytes | ConsensusError) -> None:
        """Tells the caller, once."""
        if proposal.result is None:
            proposal.result = result
            self.ended.append(proposal)
