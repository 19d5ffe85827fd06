"""Who is killed while encryptors draw and collect, and when: schedules made from a seed. Pure.

In a turn everybody lives at first. Then a new root epoch is asked for, and while it is being seeded are killed:
one to all of the KMEs, whose keys it needs, and one node, in one turn the leader and in the next another. With
these dead an epoch is asked for once more; at last all are started again, together. Never more than one node is
down, so that a majority is there throughout, but for the election that the end of a leader takes.

Times are from the beginning of a turn, which is the end of the one before it: where starting takes long, on a slow
machine, the load lasts longer, and between two killings everybody lives all the same.
"""

import random
from collections.abc import Sequence

from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.faults.schedule import FOLLOWER, LEADER, AnyFault, AskRoot, Kill, KillKme, Revive, Step

TURN_S = 6.0
BEGINS, ASKS_AGAIN, REVIVES = 0.5, 0.8, 1.0
"""Shares of a turn after which each comes."""
SEEDED_S = 0.3
"""An epoch that is asked for is seeded within about so long: the time in which KMEs are killed."""

KILLED = str(Kill(""))
"""What the words for a killing end in."""


def killings(seed: int, nodes: Sequence[str], seconds: float) -> list[list[Step]]:
    """A turn for each six seconds, at least one; the same seed makes the same ones."""
    rng = random.Random(f"killings {seed}")  # noqa: S311
    turns = max(1, round(seconds / TURN_S))
    return [_turn(rng, nodes, seconds / turns, FOLLOWER if turn % 2 else LEADER) for turn in range(turns)]


def _turn(rng: random.Random, nodes: Sequence[str], lasts: float, killed_node: str) -> list[Step]:
    faults: list[tuple[float, AnyFault]] = [(BEGINS * lasts, AskRoot())]
    for node in rng.sample(nodes, rng.randint(1, len(nodes))):
        faults.append((BEGINS * lasts + rng.uniform(0, SEEDED_S), KillKme(node)))
    faults += [
        (rng.uniform(BEGINS, ASKS_AGAIN) * lasts, Kill(killed_node)),
        (ASKS_AGAIN * lasts, AskRoot()),
        (REVIVES * lasts, Revive()),
    ]
    return sorted((Step(round(at, 2), fault) for at, fault in faults), key=lambda step: step.at_s)


def killed(happened: Sequence[Happened]) -> list[str]:
    """Who was killed, in order: nodes by name, KMEs as "the KME of" their node."""
    return [one.text.removesuffix(KILLED) for one in happened if one.text.endswith(KILLED) and not one.problem]
