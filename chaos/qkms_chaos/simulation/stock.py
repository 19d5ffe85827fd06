"""A simulated node with the library as it is: plain SyncObj, its file journal, its pickles.

It exists to show that the oracles can fail: on the same time, network and
disks the unmodified library breaks what must hold. Nothing is mended here.
What the library swallows or retries stays swallowed; a process that cannot
load its disk counts as a breach.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated, serializer, syncobj
from pysyncobj import journal as library_journal
from pysyncobj import pickle as library_pickle
from pysyncobj.node import Node as LibraryNode
from pysyncobj.transport import Transport

from qkms_chaos.simulation.library import simulated
from qkms_chaos.simulation.node import Ended, Node, OnBarrier, OnChanged, OnEnded
from qkms_chaos.simulation.oracles import LogEntry
from qkms_chaos.simulation.run import Engine
from qkms_chaos.simulation.state import Command, decode_answer, encode
from qkms_chaos.simulation.system_calls import ROOT, OpenFile, SystemCalls
from qkms_chaos.simulation.world import World
from qkms_node.consensus.change_rules import Change

_DEFINITE = {
    FAIL_REASON.QUEUE_FULL,
    FAIL_REASON.MISSING_LEADER,
    FAIL_REASON.DISCARDED,
    FAIL_REASON.NOT_LEADER,
    FAIL_REASON.REQUEST_DENIED,
}
_LEADER = 2
_TICK_S = 0.02
_LOOK_S = 0.0005


class _Memory:
    """What `mmap.mmap` gives: writes reach the file at once and the platter never."""

    def __init__(self, calls: SystemCalls, descriptor: int, _: int) -> None:
        self._calls = calls
        self._descriptor = descriptor

    def size(self) -> int:
        return int(self._calls.fstat(self._descriptor).st_size)

    def resize(self, size: int) -> None:
        self._calls.posix_fallocate(self._descriptor, 0, size)

    def __getitem__(self, part: slice) -> bytes:
        return self._calls.pread(self._descriptor, part.stop - part.start, part.start)

    def __setitem__(self, part: slice, data: bytes) -> None:
        self._calls.pwrite(self._descriptor, data, part.start)

    def close(self) -> None:
        """The file stays open."""


@contextmanager
def around_stock(world: World) -> Iterator[None]:
    """Inside, the library lives in `world`, its journal and dumps on the disks there."""
    with simulated(world), _files_on_disks_of(world):
        yield


@contextmanager
def _files_on_disks_of(world: World) -> Iterator[None]:
    calls = world.calls

    def open_file(path: str, mode: str) -> OpenFile:
        return OpenFile(calls, path, mode)

    replaced: list[tuple[ModuleType, str, Any]] = [
        (library_journal, "os", calls),
        (library_journal, "open", open_file),
        (library_journal, "mmap", SimpleNamespace(mmap=lambda number, size: _Memory(calls, number, size))),
        (library_journal, "shutil", SimpleNamespace(move=calls.rename)),
        (serializer, "open", open_file),
        (serializer, "atomicReplace", calls.rename),
        (syncobj, "os", calls),
    ]
    before = [(module, name, vars(module).get(name)) for module, name, _ in replaced]
    for module, name, substitute in replaced:
        setattr(module, name, substitute)
    try:
        yield
    finally:
        for module, name, original in before:
            if original is None:
                delattr(module, name)
            else:
                setattr(module, name, original)


class _Transport(Transport):  # type: ignore[misc]  # the library is untyped
    def __init__(self, owner: "StockNode") -> None:
        super().__init__(None, None, [])
        self._owner = owner

    def dropNode(self, node: LibraryNode) -> None:  # noqa: N802
        self._owner.world.network.drop(self._owner.name, node.id, silently=False)

    def send(self, node: LibraryNode, message: Any) -> bool:
        self._owner.outgoing.append((node.id, library_pickle.dumps(message)))
        return True


class _Engine(SyncObj):  # type: ignore[misc]  # the library is untyped
    """The library; `effects` and `state_digest` are what its dumps keep."""

    def __init__(self, owner: "StockNode", peers: list[str], configuration: SyncObjConf) -> None:
        self._owner = owner
        transport = _Transport(owner)
        super().__init__(
            LibraryNode(owner.name), [LibraryNode(p) for p in peers], configuration, transport=transport
        )
        self.effects: dict[int, int] = {}
        self.state_digest = b""

    @replicated  # type: ignore[untyped-decorator]
    def put(self, command: bytes) -> bytes:
        machine = self._owner.machine
        machine.effects, machine.digest = self.effects, self.state_digest
        answer = machine.apply(self.raftLastApplied + 1, 0, command)
        self.state_digest = machine.digest
        return answer


class StockNode(Node):
    """One member of a cluster of the plain library."""

    writes_by_round = False
    _engine: _Engine

    def load(self) -> None:
        self._looks = 0
        limits, root = self.world.limits, f"{ROOT}/{self.name}"
        self.outgoing: list[tuple[str, bytes]] = []
        configuration = SyncObjConf(
            autoTick=False,
            useFork=False,
            appendEntriesPeriod=0.05,
            raftMinTimeout=0.2,
            raftMaxTimeout=0.5,
            leaderFallbackTimeout=0.4,
            connectionTimeout=0.9,
            appendEntriesBatchSizeBytes=limits.append_bytes,
            logCompactionMinEntries=limits.snapshot_after_entries,
            logCompactionMinTime=10_000,
            logCompactionBatchSize=limits.snapshot_chunk_bytes,
            journalFile=f"{root}/journal",
            fullDumpFile=f"{root}/dump",
            dynamicMembershipChange=self.world.founders != self.world.names,
        )
        founders = [name for name in self.world.founders if name != self.name]
        self._engine = _Engine(self, founders, configuration)
        self._engine.doTick(0.0)  # loads the dump
        self._take_state()

    def local_time(self) -> float:
        """Moves on at each look of a round: some loops of the library end by the clock alone."""
        self._looks += 1
        return self.clock.now() + self._looks * _LOOK_S

    def discard(self) -> None:
        self.outgoing = []

    def tick(self) -> float:
        self._looks = 0
        try:
            self._engine.doTick(0.0)
        except Exception as error:  # the library's own thread logs it and goes on
            self.world.say(self.name, "swallowed", repr(error))
        self._take_state()
        outgoing, self.outgoing = self.outgoing, []
        for peer, data in sorted(outgoing, key=lambda item: item[0]):
            self.world.network.send(self.name, peer, data)
        return _TICK_S

    def _take_state(self) -> None:
        self.machine.effects, self.machine.digest = self._engine.effects, self._engine.state_digest

    def fell(self, error: Exception) -> None:
        problem = f"{self.name}: {type(error).__name__}: {error}"
        self.world.oracles.breach("a node never stops by itself", problem)
        self.kill(problem)

    # Clients.

    def propose(self, command: Command, timeout_s: float, ended: OnEnded) -> None:
        run, over = self.run, False

        def finish(end: Ended) -> None:
            nonlocal over
            if not over and self.run == run and self.running and not self.disk.dead:
                over = True
                ended(end)

        def called_back(answer: bytes | None, reason: int) -> None:
            if reason == FAIL_REASON.SUCCESS:
                index = decode_answer(answer).index if answer is not None else None
                finish(Ended(index, False, ""))
            else:
                finish(Ended(None, reason in _DEFINITE, f"reason {reason}"))

        self.post(lambda: self._engine.put(encode(command), callback=called_back))
        self.world.agenda.after(timeout_s, lambda: finish(Ended(None, False, "no answer in time")))

    def barrier(self, timeout_s: float, ended: OnBarrier) -> None:
        """The library has none."""

    def change_members(self, change: Change, timeout_s: float, ended: OnChanged) -> None:
        """The library knows voters only, and changes them at once or not at all."""
        node = LibraryNode(change.member)

        def called_back(_: object, reason: int) -> None:
            ended(reason == FAIL_REASON.SUCCESS)

        def ask() -> None:
            if change.kind == "add_learner":
                self._engine.addNodeToCluster(node, callback=called_back)
            elif change.kind == "remove":
                self._engine.removeNodeFromCluster(node, callback=called_back)
            else:
                ended(True)

        self.post(ask)

    def transfer_leadership(self, timeout_s: float) -> None:
        self.post(self._engine.transferLeadership)

    # Network.

    def admits(self, peer: str) -> bool:
        return peer in self.voters

    def peer_opened(self, peer: str, connection: int) -> None:
        self._engine._SyncObj__onNodeConnected(LibraryNode(peer))

    def peer_closed(self, peer: str) -> None:
        self._engine._SyncObj__onNodeDisconnected(LibraryNode(peer))

    def peer_sent(self, peer: str, connection: int, data: bytes) -> None:
        message = library_pickle.loads(data)
        try:
            self._engine._SyncObj__onMessageReceived(LibraryNode(peer), message)
        except Exception as error:  # as in tick
            self.world.say(self.name, "swallowed", repr(error))
        if not self.disk.dead:
            self.world.oracles.doing = "snapshot" if "serialized" in message else message["type"]
            self._take_state()
            self.world.oracles.stepped(self)

    # What the oracles see.

    @property
    def leads(self) -> bool:
        return bool(self._engine._SyncObj__raftState == _LEADER)

    @property
    def leader(self) -> str | None:
        node = self._engine._SyncObj__raftLeader
        return None if node is None else str(node.id)

    @property
    def term(self) -> int:
        return int(self._engine.raftCurrentTerm)

    @property
    def voters(self) -> frozenset[str]:
        return frozenset({self.name, *(node.id for node in self._engine.otherNodes)})

    @property
    def learners(self) -> frozenset[str]:
        return frozenset()

    @property
    def entries(self) -> Sequence[LogEntry]:
        log: Sequence[LogEntry] = self._engine._SyncObj__raftLog
        return log

    @property
    def commit_index(self) -> int:
        return int(self._engine.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._engine.raftLastApplied)

    @property
    def stored(self) -> bool:
        """As a kill leaves it: the library never makes anything durable."""
        return True


STOCK = Engine(StockNode, around_stock)
