"""What must hold after every step, over all nodes at once. A breach is recorded, never raised.

The library under test swallows exceptions in places, assertion errors too, so
the first breach is kept here and the world looks after each step. Log
matching is by induction: an entry is compared with what any node ever held
under the same index and term, its predecessor's term included.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qkms_chaos.simulation.state import Command
from qkms_node.consensus.entries import CONFIGURATION

LogEntry = tuple[bytes, int, int]  # (command, index, term)


class Observed(Protocol):
    """A node after a step. `entries[0]` is the base: only its index and term count."""

    name: str

    @property
    def leads(self) -> bool: ...
    @property
    def voters(self) -> frozenset[str]:
        """By its own log."""
        ...

    @property
    def term(self) -> int: ...
    @property
    def entries(self) -> Sequence[LogEntry]: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def applied_index(self) -> int: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def stored(self) -> bool:
        """Whether all of `entries` would be there after the worst that the profile does to disks."""
        ...


@dataclass(frozen=True)
class Violation:
    """`oracle`: which rule; `step`: of the run, counted over all nodes; `doing`: what that step was about."""

    oracle: str
    problem: str
    step: int
    time: float
    doing: str

    def __str__(self) -> str:
        return f"{self.oracle}: {self.problem} (step {self.step}, {self.time:.3f} s)"


@dataclass
class _Log:
    """The terms of a node's log, by index. What lies before `base` is covered by a snapshot."""

    base: int = 0
    last: int = 0
    terms: dict[int, int] = field(default_factory=dict)

    def news(self, entries: Sequence[LogEntry]) -> list[tuple[LogEntry, int]]:
        """Takes over the log; returns what was not there, each with the term before it."""
        _, self.base, base_term = entries[0]
        self.terms[self.base] = base_term
        fresh: list[tuple[LogEntry, int]] = []
        position = len(entries) - 1
        while position > 0 and self.terms.get(entries[position][1]) != entries[position][2]:
            fresh.append((entries[position], entries[position - 1][2]))
            position -= 1
        last = entries[-1][1]
        for index in range(last + 1, self.last + 1):
            self.terms.pop(index, None)
        for (_, index, term), _ in fresh:
            self.terms[index] = term
        self.last = last
        return fresh

    def holds(self, index: int, term: int) -> bool:
        return index <= self.base or (index <= self.last and self.terms.get(index) == term)


class Oracles:
    """All rules about logs, terms, commits and applied state. Breaches of the rules `ignored` do not count."""

    def __init__(
        self, names: Sequence[str], founders: Sequence[str], ignored: frozenset[str] = frozenset()
    ) -> None:
        self._ignored = ignored
        self._founders = frozenset(founders)
        self._configurations: dict[tuple[int, int], frozenset[str]] = {}  # voters by (index, term)
        self._before_wipe: dict[str, list[_Log]] = {}
        self._logs = {name: _Log() for name in names}
        self._stored = {name: _Log() for name in names}
        self._leaders: dict[int, str] = {}
        self._entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        self._committed: dict[int, int] = {}
        self._commit_history: list[tuple[int, int]] = []  # (term of the committing node, index)
        self._commit_seen: dict[str, int] = {}
        self._digests: dict[int, bytes] = {}
        self._attempts: dict[int, int] = {}  # attempt -> index
        self._refused: set[int] = set()
        self._times: dict[int, int] = {}
        self.violation: Violation | None = None
        self.step = 0
        self.time = 0.0
        self.doing = ""

    @property
    def committed_top(self) -> int:
        """The highest index that any node ever committed."""
        return max(self._committed, default=0)

    def breach(self, oracle: str, problem: str) -> None:
        """Records the first breach."""
        if self.violation is None and oracle not in self._ignored:
            self.violation = Violation(oracle, problem, self.step, self.time, self.doing)

    def started(self, node: Observed) -> None:
        """`node` loaded its disk: what it had stored must be there."""
        log = self._logs[node.name] = _Log()
        self._take_log(node, restarted=True)
        stored = self._stored[node.name]
        for index in range(max(stored.base, log.base) + 1, stored.last + 1):
            if not log.holds(index, stored.terms[index]):
                self.breach("stored is kept", f"{node.name} lost entry {index} of term {stored.terms[index]}")
                break
        self._commit_seen[node.name] = 0
        self.stepped(node)

    def died(self, node: Observed) -> None:
        """`node` was killed, perhaps amid a round that was replacing a tail: that tail may be stored or gone."""
        stored, held = self._stored[node.name], _Log()
        held.news(node.entries)
        while stored.last > stored.base and not held.holds(stored.last, stored.terms[stored.last]):
            del stored.terms[stored.last]
            stored.last -= 1

    def wiped(self, name: str) -> None:
        """The disk of `name` is empty now. What it acknowledged before may still be counted."""
        self._before_wipe.setdefault(name, []).append(self._stored[name])
        self._stored[name] = _Log()

    def stepped(self, node: Observed) -> None:
        """`node` did something."""
        self._take_log(node)
        if node.stored:
            self._stored[node.name].news(node.entries)
        if node.leads and node.term not in self._leaders:
            self._leaders[node.term] = node.name
            self._check_complete(node)
        elif node.leads and self._leaders[node.term] != node.name:
            self.breach("one leader per term", f"{self._leaders[node.term]} and {node.name} lead term {node.term}")
        self._take_commits(node)
        index, digest = node.applied_index, node.digest
        if self._digests.setdefault(index, digest) != digest:
            self.breach("equal state at equal index", f"{node.name} differs from another node at index {index}")

    def applied(self, name: str, index: int, time_ms: int, command: Command) -> None:
        """A state machine is about to apply `command`."""
        attempt = command.attempt
        if self._attempts.setdefault(attempt, index) != index:
            self.breach(
                "an attempt enters the log once",
                f"{name} applies attempt {attempt} at {index}, it was applied at {self._attempts[attempt]}",
            )
        if attempt in self._refused:
            self.breach("a definite failure has no effect", f"{name} applies attempt {attempt}, which was refused")
        if self._times.setdefault(index, time_ms) != time_ms or time_ms < self._times.get(index - 1, 0):
            self.breach("time never goes back", f"{name} applies {index} at {time_ms}")

    def refused(self, attempt: int) -> None:
        """A client was told that `attempt` certainly has no effect."""
        self._refused.add(attempt)
        if attempt in self._attempts:
            self.breach(
                "a definite failure has no effect",
                f"attempt {attempt} is refused after it was applied at {self._attempts[attempt]}",
            )

    def _take_log(self, node: Observed, *, restarted: bool = False) -> None:
        log = self._logs[node.name]
        last_before = log.last
        _, base, base_term = node.entries[0]
        # A snapshot whose last entry conflicts with the log's takes the place of all of it (Raft, section 7).
        replaced = log.terms.get(base, base_term) != base_term
        fresh = log.news(node.entries)
        if log.last < last_before and not fresh and not restarted and not replaced:
            # What replaces a tail comes in the same step.
            self.breach(
                "a tail is cut only on a conflict", f"{node.name} cuts its log from {last_before} to {log.last}"
            )
        for entry, term_before in fresh:
            command, index, term = entry
            known = self._entries.setdefault((index, term), (command, term_before))
            if known != (command, term_before):
                self.breach("log matching", f"{node.name} holds another entry {index} of term {term}")
            if command[:1] == CONFIGURATION and (index, term) not in self._configurations:
                # A leader appends one at a time, and nobody has an entry before its leader.
                self._configurations[index, term] = node.voters
            if term < term_before:
                self.breach("log matching", f"{node.name}: terms go back at entry {index}")

    def _check_complete(self, leader: Observed) -> None:
        log = self._logs[leader.name]
        for term, index in reversed(self._commit_history):
            if term < leader.term:
                if not log.holds(index, self._committed[index]):
                    self.breach(
                        "leader completeness",
                        f"{leader.name} leads term {leader.term} without entry {index}, committed in term {term}",
                    )
                return

    def _take_commits(self, node: Observed) -> None:
        log, commit = self._logs[node.name], node.commit_index
        seen = self._commit_seen.get(node.name, 0)
        fresh = 0
        for index in range(max(seen, log.base) + 1, commit + 1):
            term = log.terms.get(index)
            if term is None or index > log.last:
                self.breach("commit within the log", f"{node.name} commits {commit}, its log ends at {log.last}")
                return
            if index not in self._committed:
                self._committed[index] = term
                fresh = index
            elif self._committed[index] != term:
                self.breach(
                    "state machine safety",
                    f"{node.name} commits entry {index} of term {term}, another node committed one of term "
                    f"{self._committed[index]}",
                )
                return
        self._commit_seen[node.name] = commit
        if fresh:
            self._commit_history.append((node.term, fresh))
            self._check_majority(node, fresh, self._committed[fresh])

    def _check_majority(self, node: Observed, index: int, term: int) -> None:
        voters = self._voters(self._logs[node.name])
        holders = [name for name in sorted(voters) if self._held(name, index, term)]
        if len(holders) * 2 <= len(voters):
            self.breach(
                "commit with a durable majority",
                f"{node.name} commits entry {index} of term {term}, stored at {', '.join(holders) or 'no node'} "
                f"of {', '.join(sorted(voters))}",
            )

    def _held(self, name: str, index: int, term: int) -> bool:
        return any(log.holds(index, term) for log in (self._stored[name], *self._before_wipe.get(name, ())))

    def _voters(self, log: _Log) -> frozenset[str]:
        """By the newest configuration that the log holds, or that its snapshot covers."""
        newest = max(
            (
                (index, term)
                for index, term in self._configurations
                if (log.terms.get(index) == term and index <= log.last)
                or (index <= log.base and self._committed.get(index) == term)
            ),
            default=None,
        )
        return self._founders if newest is None else self._configurations[newest]
