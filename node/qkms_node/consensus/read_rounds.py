"""The leader's part of read barriers: rounds of probes that confirm its leadership.

The leader sends probes of its term after the request arrived; once a majority
has answered, the commit index that it noted before sending is safe to read
at, provided its own first entry of the term is committed. Nothing is written.
"""

from collections import deque

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import Probe, ProbeAnswer
from qkms_node.consensus.replica import Role


class Rounds:
    """Rounds under way, and who waits for them. Requests that arrive during a round share the next one."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seq = 0
        self._sent_at = float("-inf")
        self._waiting: list[tuple[str, int]] = []
        self._patient: list[tuple[str, int]] = []
        self._rounds: deque[tuple[int, int, list[tuple[str, int]]]] = deque()  # (seq, commit index, requests)
        self._answered: dict[str, int] = {}
        self.confirmed: list[tuple[str, int, int]] = []  # (asker, its number, index)

    def ask(self, asker: str, number: int, *, patient: bool) -> None:
        """A request by this node or a follower."""
        (self._patient if patient else self._waiting).append((asker, number))

    def step(self) -> None:
        """Begins a round when someone waits, repeats one that takes too long."""
        core = self._core
        if not (self._waiting or self._patient or self._rounds):
            return
        if core.role is not Role.LEADER or core.commit_index < core.no_op_index:
            return
        overdue = core.now() - self._sent_at > core.timing.heartbeat_s
        # In a tick that sends to peers anyway, a probe costs no packet of its own.
        wanted = self._waiting or (self._patient and (core.speaks_to_any() or core.members.is_alone))
        if wanted and (not self._rounds or overdue):
            requests = self._waiting + self._patient
            self._waiting, self._patient = [], []
            self._rounds.append((self._seq + 1, core.commit_index, requests))
            self._probe()
        elif self._rounds and overdue:
            self._probe()
        self._finish()

    def on_answer(self, peer: str, message: ProbeAnswer) -> None:
        self._answered[peer] = max(message.seq, self._answered.get(peer, 0))

    def end(self) -> list[tuple[str, int]]:
        """This node leads no more: the requests without an answer."""
        under_way = [request for _, _, requests in self._rounds for request in requests]
        left = self._waiting + self._patient + under_way
        self._waiting, self._patient, self._answered = [], [], {}
        self._rounds.clear()
        return left

    def _probe(self) -> None:
        core = self._core
        self._seq += 1
        self._sent_at = core.now()
        for peer in core.members.other_voters:
            core.send(peer, Probe(core.term, self._seq))

    def _finish(self) -> None:
        core = self._core
        while self._rounds:
            seq, index, requests = self._rounds[0]
            if not core.members.is_quorum({core.id, *(p for p, last in self._answered.items() if last >= seq)}):
                return
            self._rounds.popleft()
            self.confirmed += [(asker, number, index) for asker, number in requests]
