"""Clients: proposals and read barriers at random nodes, and what their answers promise.

A client that got no answer may send the same request again, elsewhere, as
another attempt, and some do so although they got one. What a client was told is held against what the nodes do:
an acknowledged request keeps its effect for ever, all attempts have one
effect, and a barrier covers all that was acknowledged before it began.
"""

import random
from collections.abc import Callable, Iterable
from itertools import count

from qkms_chaos.simulation.node import Ended, Node
from qkms_chaos.simulation.state import Command
from qkms_chaos.simulation.world import World

BARRIER_SHARE = 0.3
LARGE_SHARE = 0.2
RETRY_SHARE = 0.5
REPEAT_SHARE = 0.1  # of the acknowledged requests, sent again all the same


class Clients:
    """All clients of one world."""

    def __init__(self, world: World, padding: int) -> None:
        self._world = world
        self._padding = padding
        self._rng = random.Random(f"{world.seed} clients")  # noqa: S311
        self._requests = count(1)
        self._attempts = count(1)
        self.acknowledged: dict[int, int] = {}  # request -> index of its effect
        self.newest_acknowledged = 0
        self.barriers = 0

    def plan(self, start: float, end: float, per_second: float) -> None:
        """Spreads calls over a span of time."""
        time = start
        while (time := time + self._rng.expovariate(per_second)) < end:
            self._world.agenda.at(time, self._call)

    def write(self, node: Node, timeout_s: float) -> int:
        """Proposes a new request at `node`, again until it is acknowledged; returns its number."""
        request = next(self._requests)

        def attempt() -> None:
            self._propose(node, request, timeout_s, lambda: self._world.agenda.after(0.05, attempt))

        attempt()
        return request

    def read(self, node: Node, timeout_s: float) -> None:
        """A barrier at `node`."""
        world, acknowledged_before = self._world, self.newest_acknowledged

        def ended(index: int | None) -> None:
            if index is None:
                return
            self.barriers += 1
            if index < acknowledged_before:
                world.oracles.breach(
                    "barriers are linearizable",
                    f"one at {node.name} gave {index}, {acknowledged_before} was acknowledged before it began",
                )
            if node.applied_index < index:
                world.oracles.breach("barriers are linearizable", f"{node.name} has not applied {index}")

        node.barrier(timeout_s, ended)

    def check_kept(self, members: Iterable[str]) -> None:
        """All that was acknowledged is in the state of every member."""
        for name in sorted(members):
            for request, index in self.acknowledged.items():
                held = self._world.nodes[name].machine.effects.get(request)
                if held != index:
                    self._world.oracles.breach(
                        "acknowledged is never lost",
                        f"{name} has request {request} at {held}, acknowledged at {index}",
                    )
                    return

    def _call(self) -> None:
        node = self._any_node()
        if self._rng.random() < BARRIER_SHARE:
            self.read(node, self._any_timeout())
        else:
            self._write_anywhere(next(self._requests), attempts=self._rng.randint(1, 3))

    def _write_anywhere(self, request: int, attempts: int) -> None:
        """One attempt at some node; after a failure perhaps another, elsewhere."""

        def failed() -> None:
            if attempts > 1 and self._rng.random() < RETRY_SHARE:
                delay = self._rng.uniform(0.0, 0.3)
                self._world.agenda.after(delay, lambda: self._write_anywhere(request, attempts - 1))

        self._propose(self._any_node(), request, self._any_timeout(), failed)

    def _any_node(self) -> Node:
        return self._world.nodes[self._rng.choice(self._world.names)]

    def _any_timeout(self) -> float:
        return self._rng.uniform(0.2, 2.0)

    def _propose(self, node: Node, request: int, timeout_s: float, failed: Callable[[], None]) -> None:
        world, attempt = self._world, next(self._attempts)
        large = self._rng.random() < LARGE_SHARE
        command = Command(request, attempt, bytes(self._rng.randint(0, self._padding if large else 20)))

        def ended(end: Ended) -> None:
            if end.index is not None:
                self._acknowledge(node, request, end.index)
                if self._rng.random() < REPEAT_SHARE:
                    self._write_anywhere(request, attempts=1)
                return
            world.say("client", f"request {request}", f"attempt {attempt} at {node.name}: {end.why}")
            if end.definite:
                world.oracles.refused(attempt)
            failed()

        if node.reachable:
            world.say("client", f"request {request}", f"attempt {attempt} at {node.name}")
            node.propose(command, timeout_s, ended)
        else:
            failed()

    def _acknowledge(self, node: Node, request: int, index: int) -> None:
        self._world.say("client", f"request {request}", f"acknowledged by {node.name} at {index}")
        if self.acknowledged.setdefault(request, index) != index:
            self._world.oracles.breach(
                "one effect per request",
                f"request {request} was acknowledged at {self.acknowledged[request]} and at {index}",
            )
        # An index acknowledged again for an old effect says nothing newer.
        self.newest_acknowledged = max(self.newest_acknowledged, index)
