"""Carries out a schedule on a running cluster, on a thread of its own, and writes down what it did and when.

A fault is carried out at its time or, when the one before took longer, after it; a part (LEADER, FOLLOWER) is the
node that has it at that moment by what the majority says, else any node that runs. `heal` ends every fault.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import httpx

from qkms_chaos.checking.history import Op, Outcome, Recorder
from qkms_chaos.cluster.waits import NotYet, WaitExpired, wait_for
from qkms_chaos.cluster.world import World
from qkms_chaos.faults import schedule as s
from qkms_chaos.faults.faulty_disk import FaultyDisk
from qkms_chaos.faults.network import CLIENTS, FaultyNetwork, Unsupported, between
from qkms_client.errors import MemberNotReady, QkmsError

FIND_LEADER_S = 1.0
ASKED_S = 5.0
PROMOTED_S = 20.0


@dataclass(frozen=True)
class Happened:
    """A fault that was carried out; times of time.monotonic. `problem`: it was not, and why."""

    begin: float
    end: float
    text: str
    problem: str = ""


class Nemesis:
    """`network` None: it cannot fail. `disks` and `clocks`: of the nodes that were started with them, by id.
    `recorder`: of changes of members."""

    def __init__(
        self,
        world: World,
        network: FaultyNetwork | None,
        told: Callable[[str], None],
        disks: dict[str, FaultyDisk] | None = None,
        clocks: Mapping[str, Callable[[float], None]] | None = None,
        seed: int = 0,
        recorder: Recorder | None = None,
    ) -> None:
        self._world = world
        self._faulty_network = network
        self._told = told
        self._disks = disks or {}
        self._clocks = clocks or {}
        self._rng = random.Random(seed)  # noqa: S311
        self._recorder = recorder
        self._quantum: set[tuple[str, str]] = set()
        self._lying: set[str] = set()
        self._stop = threading.Event()
        self.happened: list[Happened] = []

    def run(self, steps: Sequence[s.Step]) -> None:
        """Every step at its time, from now; returns after the last, or when told to stop."""
        begun = time.monotonic()
        for step in steps:
            if self._stop.wait(max(0.0, begun + step.at_s - time.monotonic())):
                return
            self.carry_out(step.fault)

    def stop(self) -> None:
        """`run` returns soon."""
        self._stop.set()

    def carry_out(self, fault: s.AnyFault) -> None:
        """Does it now; one that cannot be done is written down as such."""
        begin = time.monotonic()
        problem = ""
        try:
            text = self._do(fault)
        except (Unsupported, httpx.HTTPError) as error:
            text, problem = str(fault), str(error)
        self.note(begin, text, problem)

    def note(self, begin: float, text: str, problem: str = "") -> None:
        """Something that was done to the cluster since `begin`, here or by a load itself."""
        self.happened.append(Happened(begin, time.monotonic(), text, problem))
        self._told(f"{text}{f' (not done: {problem})' if problem else ''}")

    def heal(self) -> None:
        """Ends every fault: disks, clocks, quantum links, lies, network, processes."""
        for node, disk in self._disks.items():
            disk.heal()
            if node in self._clocks:
                self._clocks[node](0.0)
        for one, other in list(self._quantum):
            self.carry_out(s.QuantumFault(one, other, {}))
        if self._lying:
            self.carry_out(s.HonestKmes())
        self.carry_out(s.HealNetwork())
        self.carry_out(s.Revive())

    @property
    def _network(self) -> FaultyNetwork:
        if self._faulty_network is None:
            raise Unsupported("the network of this cluster cannot fail")
        return self._faulty_network

    def _do(self, fault: s.AnyFault) -> str:
        nodes = self._world.cluster.nodes
        match fault:
            case s.Isolate(node):
                found = self._node(node)
                self._network.cut(between([found], self._others(found)))
                return str(s.Isolate(found))
            case s.Halves(side):
                self._network.cut(between(side, self._others(*side)))
            case s.OneWay(node):
                found = self._node(node)
                self._network.cut([(found, other) for other in self._others(found)])
                return str(s.OneWay(found))
            case s.Bridge(node):
                others = self._others(node)
                self._network.cut(between(others, others))
            case s.Slow(delay_ms, jitter_ms):
                self._network.slow(between(nodes, nodes), delay_ms, jitter_ms)
            case s.Limit(node, kib_per_s):
                self._network.limit([(other, node) for other in self._others(node)], kib_per_s)
            case s.Reset():
                self._network.reset(between(nodes, nodes))
            case s.CutKme(node):
                self._network.cut(between([node], [self._kme(node)]))
            case s.LoseReplies(node):
                found = self._node(node)
                self._network.cut([(found, CLIENTS)])
                return str(s.LoseReplies(found))
            case s.HealNetwork():
                self._network.heal()
            case _:
                return self._do_to_processes(fault)
        return str(fault)

    def _do_to_processes(self, fault: s.AnyFault) -> str:
        cluster = self._world.cluster
        match fault:
            case s.Kill(node):
                found = self._node(node)
                cluster.nodes[found].kill()
                return str(s.Kill(found))
            case s.KillAll():
                for process in cluster.nodes.values():
                    process.kill()
            case s.Pause(node):
                found = self._node(node)
                cluster.nodes[found].pause()
                return str(s.Pause(found))
            case s.Revive():
                down = self._revive()
                return f"{fault}, started again: {', '.join(down)}" if down else str(fault)
            case s.Add(node):
                self._change("add", node, lambda: cluster.add_node(node))
                promoted = partial(wait_for, f"{node} to be promoted", lambda: self._promote(node), PROMOTED_S)
                self._change("promote", node, promoted)
            case s.Remove(node):
                self._change("remove", node, lambda: cluster.remove_node(node))
            case s.KillKme(node):
                cluster.kmes[self._kme(node)].kill()
            case s.QuantumFault(one, other, switches):
                cluster.kme_admin.set_faults(self._kme(one), self._kme(other), **switches)
                (self._quantum.add if switches else self._quantum.discard)((one, other))
            case s.KmeLies(node, switches):
                found = self._node(node)
                cluster.kme_admin.set_kme_faults(self._kme(found), **switches)
                self._lying.add(self._kme(found))
                return str(s.KmeLies(found, switches))
            case s.HonestKmes():
                for kme in sorted(self._lying):
                    cluster.kme_admin.set_kme_faults(kme)
                self._lying.clear()
            case s.AskRoot():
                self._ask_root()
            case s.Disk(node, rules):
                self._disk(node).fail(*rules)
            case s.Clock(node, offset_s):
                if node not in self._clocks:
                    raise Unsupported(f"{node} was started without a clock that can be set")
                self._clocks[node](offset_s)
            case _:
                raise Unsupported(f"nobody knows how to carry out {fault!r}")
        return str(fault)

    def _change(self, call: str, member: str, do: Callable[[], object]) -> None:
        """A change of who takes part, written down in the history."""
        begin, outcome = time.monotonic(), Outcome.UNKNOWN
        try:
            do()
            outcome = Outcome.OK
        finally:
            if self._recorder is not None:
                self._recorder.add(Op("nemesis", call, member, begin, time.monotonic(), outcome))

    def _promote(self, node: str) -> None:
        try:
            self._world.operator.promote_member(node)
        except MemberNotReady as error:
            raise NotYet(str(error)) from None

    def _ask_root(self) -> None:
        def ask() -> None:
            try:
                self._world.operator.rotate_root(timeout=ASKED_S)
            except QkmsError as error:
                raise NotYet(str(error)) from None

        try:
            wait_for("a new root epoch to be asked for", ask, ASKED_S)
        except WaitExpired as error:
            raise Unsupported(str(error)) from error

    def _revive(self) -> list[str]:
        """Starts what is down and wakes what stands still; what was down. Raises when one does not come up."""
        members = {**self._world.cluster.kmes, **self._world.cluster.nodes}
        for process in members.values():
            if process.running:
                process.resume()
        down = [name for name, process in members.items() if not process.running]
        self._world.cluster.start_members(down)
        return down

    def _node(self, part: str) -> str:
        if part not in (s.LEADER, s.FOLLOWER):
            return part
        nodes = self._world.cluster.nodes
        running = [node for node, process in nodes.items() if process.running]
        try:
            leader = self._world.observer.wait_leader(running, FIND_LEADER_S)
        except WaitExpired:
            return self._rng.choice(running or list(nodes))
        return leader if part == s.LEADER else self._rng.choice(self._others(leader))

    def _others(self, *nodes: str) -> list[str]:
        return [node for node in self._world.cluster.nodes if node not in nodes]

    def _kme(self, node: str) -> str:
        return self._world.cluster.layout.site(node).kme

    def _disk(self, node: str) -> FaultyDisk:
        if node not in self._disks:
            raise Unsupported(f"{node} was started without the disk shim")
        return self._disks[node]
