"""What all simulated nodes have in common, whichever engine they run: a process that lives, stops and dies.

A node takes what arrived, lets its engine do one round, and is observed; the
next round is due when the engine says so or something arrives. Each start is
a new process: calls under way in the one before are lost without an answer.
"""

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qkms_chaos.simulation.agenda import NodeClock
from qkms_chaos.simulation.disk import Disk, Killed
from qkms_chaos.simulation.oracles import LogEntry
from qkms_chaos.simulation.state import Command, Effects
from qkms_node.consensus.change_rules import Change

if TYPE_CHECKING:
    from qkms_chaos.simulation.world import World


@dataclass(frozen=True)
class Ended:
    """How a proposal ended. `definite`: it certainly has no effect. `index`: where it took effect."""

    index: int | None
    definite: bool
    why: str


_THIS_PACKAGE = str(Path(__file__).parent)
ARRIVAL_S = 0.001  # what arrives within this time is taken in one round
OnEnded = Callable[[Ended], None]
OnChanged = Callable[[bool], None]
OnBarrier = Callable[[int | None], None]


def _where(killed: Killed) -> str:
    """The functions of the code under test that were at work."""
    frames = traceback.extract_tb(killed.__traceback__)
    return " in " + " > ".join(f.name for f in frames if not f.filename.startswith(_THIS_PACKAGE))


class Node(ABC):
    """One member. Subclasses bring the engine.

    `writes_by_round`: the disk follows what is in memory at the end of a round, not at each change.
    """

    writes_by_round = True

    def __init__(self, world: "World", name: str, disk: Disk, clock: NodeClock) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.clock = clock
        self.running = False
        self.paused = False
        self._loaded = False
        self.run = 0  # which process this is
        self.joining = name not in world.founders
        self.died = ""  # of what the process before did
        self.machine = Effects(self._applied)
        self._inbox: list[Callable[[], None]] = []
        self._due: float | None = None
        self._due_number = 0

    @property
    def is_newcomer(self) -> bool:
        """Whether its disk is new and it has not caught up."""
        return not self.disk.names or any(name.endswith("/journal/newcomer") for name in self.disk.names)

    @property
    def reachable(self) -> bool:
        return self.running and not self.paused

    def admits(self, peer: str) -> bool:
        """Whether it would have a connection to `peer`."""
        return True

    # Life.

    def start(self) -> None:
        """A new process loads the disk."""
        if self.running:
            return
        self.run += 1
        self.running, self.paused = True, False
        self.disk.dead = False
        self._inbox.clear()
        self.machine = Effects(self._applied)
        self._loaded = False
        self._guarded(self._start)

    def _start(self) -> None:
        self.load()
        self._loaded = True
        self.world.oracles.doing = f"start, {self.died}"
        self.world.oracles.started(self)
        self.world.say(self.name, "started", f"term {self.term}, log to {self.entries[-1][1]}")
        self.plan(0.0)

    def kill(self, why: str, *, silently: bool = False) -> None:
        """The process is gone at once. `silently`: so is its machine."""
        if not self.running:
            return
        self.running = self.paused = False
        self.disk.dead = True
        self.disk.changes_left = None
        self._due = None
        self._inbox.clear()
        self.world.calls.forget(self.disk)
        if self._loaded and self.writes_by_round:
            self.world.oracles.died(self)
        self.discard()
        self.died = why
        self.world.say(self.name, "died", why)
        self.world.network.vanish(self.name, silently=silently)

    def pause(self) -> None:
        """As by SIGSTOP."""
        if self.running:
            self.paused = True

    def resume(self) -> None:
        """As by SIGCONT."""
        if self.paused:
            self.paused = False
            self._due = None
            self.plan(0.0)

    def local_time(self) -> float:
        """What the engine's clock shows."""
        return self.clock.now()

    # Rounds.

    def post(self, action: Callable[[], None]) -> None:
        """`action` runs at the start of the next round, if this process lives to see it."""
        if self.running:
            self._inbox.append(action)
            self.plan(ARRIVAL_S)

    def plan(self, delay: float) -> None:
        """A round is due in `delay` seconds of true time, or earlier."""
        when = self.world.agenda.now + delay
        if self._due is not None and self._due <= when:
            return
        self._due = when
        self._due_number += 1
        number = self._due_number
        self.world.agenda.at(when, lambda: self._run_planned(number))

    def _run_planned(self, number: int) -> None:
        if number == self._due_number and self.reachable and self._due is not None:
            self._due = None
            self._guarded(self._round)

    def _round(self) -> None:
        inbox, self._inbox = self._inbox, []
        for action in inbox:
            action()
        wait = self.tick()
        if not self.disk.dead:  # the engine may have swallowed its own death
            self.world.oracles.stepped(self)
            self.plan(wait / self.clock.rate)

    def _guarded(self, action: Callable[[], None]) -> None:
        with self.world.as_running(self):
            where = ""
            try:
                action()
            except Killed as killed:
                where = _where(killed)
            except Exception as error:
                self.fell(error)
                return
        if self.disk.dead and self.running:
            self.kill(f"killed at a write{where}")

    def _applied(self, index: int, time_ms: int, command: Command) -> None:
        if not self.disk.dead:
            self.world.oracles.applied(self.name, index, time_ms, command)

    # From the network.

    def opened(self, peer: str, connection: int) -> None:
        self.post(lambda: self.peer_opened(peer, connection))

    def closed(self, peer: str) -> None:
        self.post(lambda: self.peer_closed(peer))

    def arrived(self, peer: str, connection: int, data: bytes) -> None:
        self.post(lambda: self.peer_sent(peer, connection, data))

    # What the engine brings.

    @abstractmethod
    def load(self) -> None:
        """Makes the engine from what is on the disk."""

    @abstractmethod
    def discard(self) -> None:
        """Forgets the engine, and all calls to it."""

    @abstractmethod
    def tick(self) -> float:
        """One round of the engine; seconds of its clock until the next."""

    @abstractmethod
    def fell(self, error: Exception) -> None:
        """The engine raised: expected under some faults, else a breach."""

    @abstractmethod
    def propose(self, command: Command, timeout_s: float, ended: OnEnded) -> None:
        """A client's proposal; `ended` is not called when the process dies first."""

    @abstractmethod
    def barrier(self, timeout_s: float, ended: OnBarrier) -> None:
        """A client's read barrier; `ended` gets the index, or None."""

    @abstractmethod
    def change_members(self, change: Change, timeout_s: float, ended: OnChanged) -> None:
        """An operator's change; `ended` gets whether it is known to hold."""

    @abstractmethod
    def transfer_leadership(self, timeout_s: float) -> None:
        """Lets another node lead, if it can be done in time."""

    @abstractmethod
    def peer_opened(self, peer: str, connection: int) -> None: ...
    @abstractmethod
    def peer_closed(self, peer: str) -> None: ...
    @abstractmethod
    def peer_sent(self, peer: str, connection: int, data: bytes) -> None: ...

    # What the oracles see.

    @property
    @abstractmethod
    def leads(self) -> bool: ...
    @property
    @abstractmethod
    def leader(self) -> str | None: ...
    @property
    @abstractmethod
    def term(self) -> int: ...
    @property
    @abstractmethod
    def voters(self) -> frozenset[str]:
        """By its own log."""

    @property
    @abstractmethod
    def learners(self) -> frozenset[str]:
        """By its own log."""

    @property
    @abstractmethod
    def entries(self) -> Sequence[LogEntry]: ...
    @property
    @abstractmethod
    def commit_index(self) -> int: ...
    @property
    @abstractmethod
    def applied_index(self) -> int: ...
    @property
    @abstractmethod
    def stored(self) -> bool: ...

    @property
    def digest(self) -> bytes:
        return self.machine.digest
