"""Who is killed while encryptors draw and collect, and when: a schedule made from a seed. Pure.

A turn asks for a new root epoch and kills while it is being seeded: one to all of the KMEs, whose keys it needs,
and one node, in one turn the leader and in the next another. With these dead an epoch is asked for once more; then
all are started again, together. Never more than one node is down, so that a majority is there throughout, but for
the election that the end of a leader takes.
"""

import random
from collections.abc import Sequence

from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.faults.schedule import FOLLOWER, LEADER, AnyFault, AskRoot, Kill, KillKme, Revive, Step

TURN_S = 6.0
BEGINS, ASKS_AGAIN, REVIVES = 0.1, 0.4, 0.6
"""Shares of a turn after which each comes; the rest of it everybody lives."""
SEEDED_S = 0.3
"""An epoch that is asked for is seeded within about so long: the time in which KMEs are killed."""

KILLED = str(Kill(""))
"""What the words for a killing end in."""


def killings(seed: int, nodes: Sequence[str], seconds: float) -> list[Step]:
    """A turn for each six seconds, at least one; the same seed makes the same ones."""
    rng = random.Random(f"killings {seed}")  # noqa: S311
    turns = max(1, round(seconds / TURN_S))
    turn_s = seconds / turns
    steps: list[Step] = []
    for turn in range(turns):
        begin = turn * turn_s
        faults: list[tuple[float, AnyFault]] = [(BEGINS * turn_s, AskRoot())]
        for node in rng.sample(nodes, rng.randint(1, len(nodes))):
            faults.append((BEGINS * turn_s + rng.uniform(0, SEEDED_S), KillKme(node)))
        killed = LEADER if turn % 2 == 0 else FOLLOWER
        faults += [
            (rng.uniform(BEGINS, ASKS_AGAIN) * turn_s, Kill(killed)),
            (ASKS_AGAIN * turn_s, AskRoot()),
            (REVIVES * turn_s, Revive()),
        ]
        steps += [Step(round(begin + at, 2), fault) for at, fault in faults]
    return sorted(steps, key=lambda step: step.at_s)


def killed(happened: Sequence[Happened]) -> list[str]:
    """Who was killed, in order: nodes by name, KMEs as "the KME of" their node."""
    return [one.text.removesuffix(KILLED) for one in happened if one.text.endswith(KILLED) and not one.problem]
