"""Whether the operations on one key have an order in which a single copy would have answered as the cluster did.

The search of Wing and Gong (1993) with Lowe's memory of configurations (2017), in the form of Porcupine: calls and
returns in one linked list, from which a call that is given its place is lifted and put back on the way back. Three
things make it fast. What changes nothing now or later (`key_model.inert`) and fits is given its place at once and
never reconsidered: moving it to here leaves all others as they are. An operation whose outcome is unknown is not
in the list: it may come at any time after its start, or never, and is tried once nothing else goes on. And a
configuration, which is what has its place and the state, is looked into once. Pure.
"""

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from qkms_chaos.checking.history import Op
from qkms_chaos.checking.key_model import State, calls, inert, step, watched

BUDGET = 300_000
"""Configurations of one key."""
SHOWN = 12
_HEAD = 0


class Result(StrEnum):
    """What the search found."""

    LINEARIZABLE = "linearizable"
    BROKEN = "broken"
    UNDECIDED = "undecided"


class Found(NamedTuple):
    """`words`: where no order works, or why nothing is claimed."""

    result: Result
    words: str
    configurations: int


class _Placed(NamedTuple):
    """Which operations have their place: of the fixed ones all below `low` and, counted from there, the bits of
    `above`; of the others the bits of `unknown`."""

    low: int = 0
    above: int = 0
    unknown: int = 0

    def with_fixed(self, n: int) -> "_Placed":
        low, above = self.low, self.above | 1 << (n - self.low)
        while above & 1:
            low, above = low + 1, above >> 1
        return _Placed(low, above, self.unknown)

    def has_fixed(self, n: int) -> bool:
        return n < self.low or bool(self.above >> (n - self.low) & 1)

    @property
    def size(self) -> int:
        return self.low + self.above.bit_count()


class _Choice(NamedTuple):
    """What may come next, and the state then. `entry`: where it is in the list, 0 for one of unknown outcome."""

    entry: int
    placed: _Placed
    state: State
    op: Op


class _Level(NamedTuple):
    """A step of the search: the length of the trail before it, and what may come next."""

    mark: int
    choices: Iterator[_Choice]


def check_key(key: str, ops: Sequence[Op], budget: int = BUDGET) -> Found:
    """Looks for an order of the operations on one key, whose creation must be among them.

    Without it nobody knows what the key was like before: undecided. So is a search that meets more
    configurations than the budget.
    """
    search = _Search(key, ops)
    if search.begins_before_the_history:
        return Found(Result.UNDECIDED, f"keys/{key} is not created in this history", 0)
    return search.run(budget)


class _Search:
    """Entries of the list are numbered from 1 in order of time; `_pair` is the return of a call, 0 of a return."""

    def __init__(self, key: str, ops: Sequence[Op]) -> None:
        chosen = sorted(calls(ops), key=lambda one: one[0].start)
        self._key = key
        self._seen = watched(call for _, call in chosen)
        self._fixed = [one for one in chosen if one[1].fixed]
        self._unknown = [one for one in chosen if not one[1].fixed]
        self.begins_before_the_history = bool(chosen) and all(call.name != "create" for _, call in chosen)
        # At equal times calls come before returns: what touches counts as concurrent.
        events = [(op.start, 0, n) for n, (op, _) in enumerate(self._fixed)]
        events += [(_end(op), 1, n) for n, (op, _) in enumerate(self._fixed)]
        events.sort()
        size = len(events) + 1
        self._number = [-1, *(n for _, _, n in events)]
        self._pair = [0] * size
        self._next = [(entry + 1) % size for entry in range(size)]
        self._prev = [(entry - 1) % size for entry in range(size)]
        called: dict[int, int] = {}
        for entry, (_, returns, n) in enumerate(events, 1):
            if returns:
                self._pair[called[n]] = entry
            else:
                called[n] = entry
        self._trail: list[int] = []
        self._furthest, self._furthest_state = _Placed(), State()
        self._latest: Op | None = None

    def run(self, budget: int) -> Found:
        """Depth first; a level for each operation that changes something."""
        known: set[tuple[_Placed, State]] = set()
        levels: list[_Level] = []
        placed, state, entry = _Placed(), State(), _HEAD
        latest: Op | None = None
        while True:
            mark = len(self._trail)
            if entry:
                self._lift(entry)
            placed = self._take_inert(placed, state)
            if self._next[_HEAD] == _HEAD:
                return Found(Result.LINEARIZABLE, "", len(known))
            if (placed, state) in known:
                self._put_back(mark)
            else:
                known.add((placed, state))
                if len(known) > budget:
                    words = f"keys/{self._key}: no order was found in {budget:,} configurations"
                    return Found(Result.UNDECIDED, words, len(known))
                if placed.size > self._furthest.size or self._latest is None:
                    self._furthest, self._furthest_state, self._latest = placed, state, latest
                levels.append(_Level(mark, self._choices(placed, state)))
            choice = self._next_choice(levels)
            if choice is None:
                return Found(Result.BROKEN, self._explanation(), len(known))
            entry, placed, state, latest = choice.entry, choice.placed, choice.state, choice.op

    def _next_choice(self, levels: list[_Level]) -> _Choice | None:
        """The next thing to try, at the deepest level that has one left."""
        while levels:
            choice = next(levels[-1].choices, None)
            if choice is not None:
                return choice
            self._put_back(levels.pop().mark)
        return None

    def _take_inert(self, placed: _Placed, state: State) -> _Placed:
        """Gives their place to all that fit and change nothing."""
        entry = self._next[_HEAD]
        while self._pair[entry]:
            n = self._number[entry]
            call = self._fixed[n][1]
            if inert(state, call, self._seen) and step(state, call, self._seen) is not None:
                before = self._prev[entry]
                self._lift(entry)
                placed = placed.with_fixed(n)
                entry = self._next[before]
            else:
                entry = self._next[entry]
        return placed

    def _choices(self, placed: _Placed, state: State) -> Iterator[_Choice]:
        """What may come next: first what did take effect, then what may have."""
        entry = self._next[_HEAD]
        while self._pair[entry]:
            n = self._number[entry]
            op, call = self._fixed[n]
            after = None if inert(state, call, self._seen) else step(state, call, self._seen)
            if after is not None:
                yield _Choice(entry, placed.with_fixed(n), after, op)
            entry = self._next[entry]
        due = _end(self._fixed[self._number[entry]][0])
        for n, (op, call) in enumerate(self._unknown):
            if op.start > due:
                break
            after = None if placed.unknown >> n & 1 else step(state, call, self._seen)
            if after is not None and after != state:
                yield _Choice(_HEAD, placed._replace(unknown=placed.unknown | 1 << n), after, op)

    def _lift(self, entry: int) -> None:
        self._trail.append(entry)
        for one in (entry, self._pair[entry]):
            self._next[self._prev[one]] = self._next[one]
            self._prev[self._next[one]] = self._prev[one]

    def _put_back(self, mark: int) -> None:
        while len(self._trail) > mark:
            entry = self._trail.pop()
            for one in (self._pair[entry], entry):
                self._next[self._prev[one]] = one
                self._prev[self._next[one]] = one

    def _explanation(self) -> str:
        """Where the order that came furthest ended, and what waited there."""
        placed, state = self._furthest, self._furthest_state
        left = [op for n, (op, _) in enumerate(self._fixed) if not placed.has_fixed(n)]
        due = min(left, key=_end)
        waiting = [op for op in left if op.start <= _end(due) and op is not due]
        lines = [
            f"keys/{self._key}: {placed.size} of {len(self._fixed)} operations have an order, and none goes on.",
            f"There {state}" + (f", after {self._latest}." if self._latest else "."),
            f"This must come next, or what waits beside it, and cannot: {due}",
            *(f"beside it: {op}" for op in waiting[:SHOWN]),
        ]
        if len(waiting) > SHOWN:
            lines.append(f"and {len(waiting) - SHOWN} more beside it")
        return "\n    ".join(lines)


def _end(op: Op) -> float:
    return math.inf if op.end is None else max(op.start, op.end)
