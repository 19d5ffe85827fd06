"""Everything simulated in one place: time, network, disks, nodes, and what is said about them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qkms_chaos.simulation.agenda import Agenda, NodeClock
from qkms_chaos.simulation.disk import Disk
from qkms_chaos.simulation.network import Network
from qkms_chaos.simulation.node import Node
from qkms_chaos.simulation.oracles import Oracles
from qkms_chaos.simulation.system_calls import SystemCalls
from qkms_node.consensus.settings import Limits

Said = tuple[float, int, str, str, str]  # (time, step, who, what, details)
MakeNode = Callable[["World", str, Disk, NodeClock], Node]


class World:
    """A cluster that has not been started. Monotonic clocks do not start together.

    `names`: all machines. `founders`: the voters that found the cluster; the others are let in later.
    """

    def __init__(
        self,
        seed: str,
        names: tuple[str, ...],
        founders: tuple[str, ...],
        limits: Limits,
        make_node: MakeNode,
        *,
        trace: bool = False,
        ignored: frozenset[str] = frozenset(),
    ) -> None:
        self.seed = seed
        self.names = names
        self.founders = founders
        self.limits = limits
        self.agenda = Agenda()
        self.oracles = Oracles(names, founders, ignored)
        self.rng = random.Random(f"{seed} world")  # noqa: S311
        self.network = Network(self.agenda, random.Random(f"{seed} network"), list(names))  # noqa: S311
        self.disks = {name: Disk() for name in names}
        self.calls = SystemCalls(self.disks)
        self.said: list[Said] = []
        self.last_step: int | None = None
        self._trace = trace
        self._running: Node | None = None
        self.nodes = {
            name: make_node(self, name, self.disks[name], NodeClock(self.agenda, self.rng.uniform(10, 1000)))
            for name in names
        }
        for name, node in self.nodes.items():
            self.network.attach(name, node)

    def local_time(self) -> float:
        """The monotonic clock of the node that runs now."""
        assert self._running is not None, "only a node may ask for the time"
        return self._running.local_time()

    @contextmanager
    def as_running(self, node: Node) -> Iterator[None]:
        """What happens inside happens in the process of `node`."""
        before, self._running = self._running, node
        self.oracles.step += 1
        self.oracles.time = self.agenda.now
        self.oracles.doing = ""
        try:
            yield
        finally:
            self._running = before

    def run_until(self, time: float) -> None:
        """Lets everything happen up to `time`, unless it is over before."""
        reached: list[bool] = []
        self.agenda.at(time, lambda: reached.append(True))
        while not reached and not self.is_over:
            self.agenda.run_next()

    @property
    def is_over(self) -> bool:
        """A rule is broken, or the last step that was asked for is done."""
        return self.oracles.violation is not None or self.oracles.step == self.last_step

    def leader(self) -> Node | None:
        """The running leader of the highest term."""
        leaders = [node for node in self.nodes.values() if node.running and node.leads]
        return max(leaders, key=lambda node: node.term, default=None)

    def members(self) -> frozenset[str]:
        """Who takes part, as the leader says; nobody without one."""
        leader = self.leader()
        return frozenset() if leader is None else leader.voters | leader.learners

    def lose_disk(self, node: Node) -> None:
        """The process dies and finds an empty disk at its next start."""
        node.kill("lost its disk")
        node.disk.wipe()
        self.oracles.wiped(node.name)

    def say(self, who: str, what: str, details: str = "") -> None:
        """Keeps a line of the timeline, when one is wanted."""
        if self._trace:
            self.said.append((self.agenda.now, self.oracles.step, who, what, details))
