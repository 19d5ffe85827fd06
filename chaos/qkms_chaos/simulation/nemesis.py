"""Carries faults out on a world; each public method is a kind of Fault."""

import random

from qkms_chaos.simulation.faults import Fault
from qkms_chaos.simulation.node import Node
from qkms_chaos.simulation.operators import Operators
from qkms_chaos.simulation.world import World


class Nemesis:
    """Remembers nothing but the world: a fault whose start was left out does no harm."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"{world.seed} nemesis")  # noqa: S311
        self._operators = Operators(world)

    def plan(self, faults: list[Fault]) -> None:
        """Puts the whole schedule on the agenda."""
        for fault in faults:
            self._world.agenda.at(fault.time, lambda fault=fault: self._carry_out(fault))  # type: ignore[misc]

    def heal(self) -> None:
        """Ends every fault: all nodes run, all connections may be made, clocks and disks are well."""
        world = self._world
        world.say("world", "heals", "")
        self._operators.stopped = True
        world.network.slowest_s = 0.004
        world.network.unblock()
        for node in world.nodes.values():
            node.disk.changes_left = None
            node.disk.capacity = None
            node.clock.change(1.0)
            node.resume()
            node.start()

    def _carry_out(self, fault: Fault) -> None:
        self._world.say("world", f"{fault}", "")
        getattr(self, fault.kind)(fault)

    def _node(self, fault: Fault) -> Node:
        return self._world.nodes[fault.node]

    # Network.

    def cut(self, fault: Fault) -> None:
        self._world.network.blocked.update(fault.pairs)

    def join(self, fault: Fault) -> None:
        self._world.network.blocked.difference_update(fault.pairs)

    def join_all(self, fault: Fault) -> None:
        self._world.network.unblock()

    def isolate_leader(self, fault: Fault) -> None:
        leader = self._world.leader()
        if leader is not None:
            for other in self._world.names:
                if other != leader.name:
                    self._world.network.blocked |= {(leader.name, other), (other, leader.name)}

    def reset(self, fault: Fault) -> None:
        for a, b in fault.pairs:
            self._world.network.reset(a, b)

    def half_open(self, fault: Fault) -> None:
        for a, b in fault.pairs:
            if self._world.nodes[a].reachable:
                self._world.network.drop(a, b, silently=True)

    def slow(self, fault: Fault) -> None:
        self._world.network.slowest_s = fault.amount

    # Processes and machines.

    def kill(self, fault: Fault) -> None:
        self._node(fault).kill("killed")

    def kill_leader(self, fault: Fault) -> None:
        leader = self._world.leader()
        if leader is not None:
            leader.kill("killed")

    def start(self, fault: Fault) -> None:
        self._node(fault).start()

    def start_all(self, fault: Fault) -> None:
        for node in self._world.nodes.values():
            node.start()

    def kill_at_write(self, fault: Fault) -> None:
        self._node(fault).disk.changes_left = int(fault.amount)

    def power_loss(self, fault: Fault) -> None:
        node = self._node(fault)
        node.kill("lost power", silently=True)
        node.disk.lose_power(self._rng)

    def lose_disk(self, fault: Fault) -> None:
        """One member at a time: more may not lose their disks before it has caught up (see newcomer)."""
        node = self._node(fault)
        if self._operators.may_lose_disk(node.name):
            node.joining = self._rng.random() < 0.5
            self._world.lose_disk(node)

    def pause(self, fault: Fault) -> None:
        self._node(fault).pause()

    def resume(self, fault: Fault) -> None:
        self._node(fault).resume()

    def pause_leader(self, fault: Fault) -> None:
        leader = self._world.leader()
        if leader is not None:
            leader.pause()

    def resume_all(self, fault: Fault) -> None:
        for node in self._world.nodes.values():
            node.resume()

    # Members.

    def join_cluster(self, fault: Fault) -> None:
        self._operators.join(fault.node)

    def leave_cluster(self, fault: Fault) -> None:
        self._operators.leave(fault.node)

    def grow_apart(self, fault: Fault) -> None:
        """The leader keeps only the machines that are not members yet, and is asked to let all of them in."""
        leader, world = self._world.leader(), self._world
        if leader is None:
            return
        spares = sorted(self._operators.out)
        for name in world.names:
            if name not in (leader.name, *spares):
                world.network.blocked |= {
                    pair for one in (leader.name, *spares) for pair in ((one, name), (name, one))
                }
        for spare in spares:
            self._operators.join(spare, leader)

    # Clocks and disks.

    def clock_rate(self, fault: Fault) -> None:
        self._node(fault).clock.change(fault.amount)

    def clock_jump(self, fault: Fault) -> None:
        clock = self._node(fault).clock
        clock.change(clock.rate, fault.amount)

    def wall_clock(self, fault: Fault) -> None:
        self._node(fault).clock.wall_error_ms = int(fault.amount)

    def fill_disk(self, fault: Fault) -> None:
        disk = self._node(fault).disk
        disk.capacity = disk.used_bytes() + int(fault.amount)

    def free_disk(self, fault: Fault) -> None:
        self._node(fault).disk.capacity = None
