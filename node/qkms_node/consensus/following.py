"""The follower's side of replication: what a leader's message may change.

Mends of PySyncObj: the commit index advanced over entries that the message
did not verify (A: a deposed leader commits its own tail), and a tail cut away
although it matches (D). Here a message moves the commit index only as far as
it verified the log, a snapshot chunk never does, and entries are cut only on
a real conflict: same index, other term, above the commit index.
"""

from qkms_node.consensus.core import Core, ProtocolBroken
from qkms_node.consensus.elections import Elections
from qkms_node.consensus.messages import Append, AppendAnswer, Commit, Probe, ProbeAnswer
from qkms_node.consensus.newcomer import Newcomer
from qkms_node.consensus.replica import Role


class Following:
    """Takes what the leader of the current term sends."""

    def __init__(self, core: Core, elections: Elections, newcomer: Newcomer) -> None:
        self._core = core
        self._newcomer = newcomer
        self._elections = elections
        self._verified = (0, 0)  # (term, index): the log equals that of the term's leader up to index

    def heard(self, peer: str) -> None:
        """`peer` speaks as the leader of the current term. Raises ProtocolBroken if another does already."""
        core = self._core
        if core.role is Role.LEADER or core.leader not in (None, peer):
            raise ProtocolBroken(f"{peer} and {core.leader} both lead term {core.term}")
        if core.leader is None:
            core.report("consensus.following", leader=peer, term=core.term)
        if core.leader is None or core.role is not Role.FOLLOWER:
            core.follow(peer)
        self._elections.heard_leader()

    def on_append(self, peer: str, message: Append) -> None:
        core = self._core
        expected = range(message.prev_index + 1, message.prev_index + 1 + len(message.entries))
        if [index for _, index, _ in message.entries] != list(expected):
            core.report("consensus.entries_out_of_order", peer=peer, prev_index=message.prev_index)
            return
        self.heard(peer)
        hint = self._disagreement(message)
        if hint is not None:
            core.send(peer, AppendAnswer(core.term, message.seq, False, hint))
            return
        self._take(message.entries)
        verified = message.prev_index + len(message.entries)
        self.verify(verified)
        core.commit_to(min(message.commit_index, verified))
        if message.commit_index <= verified and core.term_at(message.commit_index) == message.term:
            self._newcomer.caught_up()
        core.send(peer, AppendAnswer(core.term, message.seq, True, verified))

    def on_commit(self, peer: str, message: Commit) -> None:
        self.heard(peer)
        term, index = self._verified
        if term == message.term:
            self._core.commit_to(min(message.commit_index, index))

    def on_probe(self, peer: str, message: Probe) -> None:
        self.heard(peer)
        self._core.send(peer, ProbeAnswer(self._core.term, message.seq))

    def verify(self, index: int) -> None:
        """The log up to `index` is the leader's."""
        term, known = self._verified
        self._verified = self._core.term, max(index, known) if term == self._core.term else index

    def _disagreement(self, message: Append) -> int | None:
        """None when the logs agree at prev_index, else the index after which the leader should look."""
        core = self._core
        if message.prev_index < core.base_index:
            return None  # a snapshot covers it, so it is committed and equal
        held = core.term_at(message.prev_index)
        if held == message.prev_term:
            return None
        if held is None:
            return core.last_index
        index = message.prev_index - 1
        while index > core.commit_index and core.term_at(index) == held:
            index -= 1
        return max(index, core.base_index)

    def _take(self, entries: list[tuple[bytes, int, int]]) -> None:
        core = self._core
        for position, (_, index, term) in enumerate(entries):
            if index <= core.base_index:
                continue
            held = core.term_at(index)
            if held == term:
                continue
            if held is not None:
                self._cut(index, term)
            core.append(entries[position:])
            return

    def _cut(self, index: int, term: int) -> None:
        core = self._core
        if index <= core.commit_index:
            raise ProtocolBroken(
                f"the leader of term {core.term} replaces committed entry {index} "
                f"(term {core.term_at(index)}) by one of term {term}"
            )
        core.cut(index)
