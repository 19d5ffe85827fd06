"""`SyncObjReplica`: the Replica of a real node, for use from an asyncio loop.

The engine runs on its own thread (tick_thread); here calls become futures of
the caller's loop. A call that the engine does not end in time, because its
thread is stuck on a disk, is ended here: no caller waits beyond its timeout.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.core import Core
from qkms_node.consensus.entries import decode_configuration
from qkms_node.consensus.peer_keys import PeerKeys
from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.raft import Raft
from qkms_node.consensus.reads import Waiter
from qkms_node.consensus.replica import (
    NoQuorum,
    NotCommitted,
    OutcomeUnknown,
    ReplicaStatus,
    Role,
    StateMachine,
)
from qkms_node.consensus.settings import Limits, LinkSealing, Timing, Tls
from qkms_node.consensus.tick_thread import Member, TickThread

__all__ = ["Limits", "LinkSealing", "SyncObjReplica", "Timing", "Tls"]

_MARGIN_S = 0.05  # the engine ends a proposal this much before the caller's timeout
_HAND_OVER_S = 1.0
_JOIN_S = 15.0


class SyncObjReplica:
    """One member. `members` maps ids to the host:port that peers dial: the voters that found the cluster, this
    one among them. A member that is `joining` waits to be let in instead, and `members` are those who may do it.
    Once the log names the members, it decides and `members` is not looked at any more. `dial` says where this
    member dials some of the others instead (id -> host:port): through a proxy, or at a translated address.
    `keys` are QKD keys under which the traffic between members is sealed inside TLS, as `sealing` says.

    `cluster_id` keeps clusters that share a CA apart, on the wire and on disk.
    `data_dir` holds journal and snapshots and belongs to one process at a time.
    """

    def __init__(
        self,
        node_id: str,
        members: Mapping[str, str],
        listen: str,
        tls: Tls,
        data_dir: Path,
        state_machine: StateMachine,
        timing: Timing | None = None,
        limits: Limits | None = None,
        cluster_id: str = "qkms",
        *,
        joining: bool = False,
        dial: Mapping[str, str] | None = None,
        keys: PeerKeys | None = None,
        sealing: LinkSealing | None = None,
    ) -> None:
        if node_id not in members and not joining:
            raise ValueError(f"{node_id} is not one of the members ({', '.join(sorted(members))})")
        log = structlog.get_logger(__name__)

        def report(event: str, **fields: Any) -> None:
            level = log.error if event == "consensus.fatal" else log.info
            level(event, node=node_id, **fields)

        self._member = Member(
            node_id,
            cluster_id,
            dict(members),
            listen,
            tls,
            Path(data_dir),
            state_machine,
            timing or Timing(),
            limits or Limits(),
            report,
            joining,
            dial or {},
            keys,
            sealing or LinkSealing(),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: TickThread | None = None
        self._fatal: asyncio.Future[BaseException] | None = None
        self._running = False

    async def start(self) -> None:
        """Loads journal and snapshot, binds the listener and runs.

        Raises OSError (address, PEM files), ssl.SSLError, JournalDamaged,
        SnapshotDamaged, DataDirInUse, DiskFault.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._fatal = loop.create_future()
        started: asyncio.Future[None] = loop.create_future()

        def report_started(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_finish, started, None, error)

        self._thread = TickThread(self._member, report_started, self._ended, self._stopped)
        self._thread.start()
        await started
        self._running = True

    async def stop(self) -> None:
        """Hands leadership over, ends all calls, closes the files. Bounded to some seconds."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        if self._running and thread.view.role is Role.LEADER and thread.view.connected:
            await self.transfer_leadership(None, _HAND_OVER_S)
        self._running = False
        thread.request_stop()
        await loop.run_in_executor(None, thread.join, _JOIN_S)

    async def wait_fatal(self) -> BaseException:
        """Returns the fault when the engine stopped itself: the node must exit."""
        assert self._fatal is not None, "start the replica first"
        return await asyncio.shield(self._fatal)

    async def propose(self, command: bytes, timeout_s: float) -> bytes:
        """`apply`'s answer, once committed and applied here. See Replica.propose."""
        return await self._propose(command, None, timeout_s)

    async def change_members(self, change: Change, timeout_s: float) -> Configuration:
        """The configuration once the change is committed and applied here. See Replica.change_members."""
        placed = decode_configuration((await self._propose(b"", change, timeout_s), 0, 0))
        assert placed is not None
        return placed.configuration

    async def _propose(self, command: bytes, change: Change | None, timeout_s: float) -> bytes:
        if not self._running:
            raise NotCommitted("this node is not running")
        assert self._thread is not None
        assert self._loop is not None
        future: asyncio.Future[bytes] = self._loop.create_future()
        deadline = Core.now() + timeout_s - min(_MARGIN_S, timeout_s / 10)
        timer = self._loop.call_later(
            timeout_s, _finish, future, None, OutcomeUnknown("the engine of this node did not answer in time")
        )
        self._thread.submit(Proposal(command, deadline, future, change))
        try:
            return await future
        finally:
            timer.cancel()

    async def read_barrier(self, timeout_s: float) -> int:
        """An applied index that covers every write acknowledged before the call. See Replica.read_barrier."""
        if not self._running:
            raise NoQuorum("this node is not running")
        assert self._thread is not None
        assert self._loop is not None
        future: asyncio.Future[int] = self._loop.create_future()
        timer = self._loop.call_later(
            timeout_s, _finish, future, None, NoQuorum("no majority confirmed the leader in time")
        )
        self._thread.submit(Waiter(Core.now() + timeout_s, future))
        try:
            return await future
        finally:
            timer.cancel()

    async def transfer_leadership(self, target: str | None, timeout_s: float) -> bool:
        """As the leader: lets `target`, or the most complete follower, take over.

        True when this node no longer leads. New proposals wait meanwhile; when nobody
        can take over in time, this node goes on leading.
        """
        assert self._thread is not None
        thread = self._thread
        deadline = Core.now() + timeout_s

        def begin(raft: Raft) -> None:
            raft.leading.transfer(target, deadline)

        thread.submit(begin)
        while thread.is_alive() and Core.now() < deadline:
            if thread.view.role is not Role.LEADER:
                return True
            await asyncio.sleep(0.01)
        return thread.view.role is not Role.LEADER

    def status(self) -> ReplicaStatus:
        """The state of consensus as this node saw it after its last tick; never blocks."""
        assert self._thread is not None, "start the replica first"
        view = self._thread.view
        return ReplicaStatus(
            role=view.role,
            term=view.term,
            leader_id=view.leader_id,
            commit_index=view.commit_index,
            applied_index=view.applied_index,
            staleness_s=None if view.fresh_since is None else max(0.0, Core.now() - view.fresh_since),
            connected=view.connected,
            configuration=view.configuration,
            held=view.held,
            sealed=view.sealed,
        )

    # On the engine's thread.

    def _ended(self, ended: list[Proposal | Waiter]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_hand_back, ended)

    def _stopped(self, fault: BaseException | None) -> None:
        assert self._loop is not None
        self._running = False
        if fault is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_finish, self._fatal, fault, None)


def _hand_back(ended: list[Proposal | Waiter]) -> None:
    for item in ended:
        result = item.result
        if isinstance(result, Exception):
            _finish(item.ticket, None, result)
        else:
            _finish(item.ticket, result, None)


def _finish(future: Any, result: Any, error: BaseException | None) -> None:
    """Ends a future unless its caller has given up."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
