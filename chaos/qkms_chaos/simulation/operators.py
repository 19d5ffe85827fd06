"""Operators: members are let in and removed while everything fails, by the rules that an operator must keep.

One works on each change, at random nodes, until it is known to hold or its
patience ends; several may be at it at once, each unaware of the others. A
machine whose removal was acknowledged comes back with an empty disk.
"""

import random

from qkms_chaos.simulation.node import Node
from qkms_chaos.simulation.world import World
from qkms_node.consensus.change_rules import Change, Kind

TRIES = 12
PAUSE_S = 0.15
TIMEOUT_S = 1.0


def address(name: str) -> str:
    """Where a machine would be dialled."""
    return f"{name}:1"


class Operators:
    """All operators of one world. `out`: machines that certainly take no part."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"{world.seed} operators")  # noqa: S311
        self.out = set(world.names) - set(world.founders)
        self.stopped = False
        self._removals = 0  # begun and not known to hold: any of them may still take effect

    def may_lose_disk(self, name: str) -> bool:
        """Whether those who would be left can still decide; a promise that holds for one disk at a time."""
        world, leader = self._world, self._world.leader()
        if leader is None or self._removals or self._newcomers() or name not in leader.voters:
            return False
        return len(leader.voters) > 2 and world.oracles.committed_top > 1

    def _newcomers(self) -> list[str]:
        return [node.name for node in self._world.nodes.values() if node.is_newcomer and node.name not in self.out]

    def join(self, name: str, at: Node | None = None) -> None:
        """Lets a machine in, as a learner first, then as a voter; does nothing while it may take part.

        `at`: the node asked first.
        """
        if name not in self.out:
            return
        self.out.discard(name)
        node = self._world.nodes[name]
        if node.disk.names:
            self._world.lose_disk(node)
        node.joining = True
        node.start()
        self._attempt("add_learner", name, TRIES, at)

    def leave(self, name: str) -> None:
        """Removes a member, unless another one has just lost its disk."""
        if name not in self.out and not self._newcomers():
            self._removals += 1
            self._attempt("remove", name, TRIES)

    def _attempt(self, kind: Kind, name: str, tries: int, at: Node | None = None) -> None:
        world = self._world
        if not tries or self.stopped:
            return
        node = at or world.nodes[self._rng.choice(world.names)]

        def again() -> None:
            pause = self._rng.uniform(0.3, 1.0) * PAUSE_S
            world.agenda.after(pause, lambda: self._attempt(kind, name, tries - 1))

        def ended(holds: bool) -> None:
            if not holds:
                self._hand_over(name)
                again()
            elif kind == "add_learner":
                self._attempt("promote", name, TRIES)
            elif kind == "remove":
                self._removals -= 1
                self.out.add(name)

        if node.reachable:
            node.change_members(
                Change(kind, name, address(name) if kind == "add_learner" else None), TIMEOUT_S, ended
            )
        else:
            again()

    def _hand_over(self, name: str) -> None:
        """A leader that is to be removed must let another lead first."""
        node: Node = self._world.nodes[name]
        if node.reachable and node.leads:
            node.transfer_leadership(TIMEOUT_S)
