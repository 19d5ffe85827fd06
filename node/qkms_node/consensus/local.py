"""A replica of one member in memory: for tests of services, never for a cluster.

Applies each proposal at once, in the order of arrival, and keeps nothing: no
journal, no peers, no durability. It keeps the promises of `Replica` as far as
one member can. `cut` makes it behave like a member that lost its quorum.
"""

import asyncio
import time

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.replica import ChangeRefused, NoQuorum, ReplicaStatus, Role, StateMachine


class LocalReplica:
    """A `Replica` that is its own quorum, until it is cut off."""

    def __init__(self, node_id: str, machine: StateMachine) -> None:
        self._node_id = node_id
        self._machine = machine
        self._index = 0
        self._cut_s: float | None = None

    def cut(self) -> None:
        """From now on there is no quorum, and staleness grows."""
        self._cut_s = time.monotonic()

    def heal(self) -> None:
        """The quorum is back."""
        self._cut_s = None

    async def start(self) -> None:
        """Nothing to load or bind."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def wait_fatal(self) -> BaseException:
        """Never returns: nothing here fails by itself."""
        await asyncio.Event().wait()
        raise AssertionError

    async def propose(self, command: bytes, timeout_s: float) -> bytes:
        """Applies `command`. Raises NoQuorum while cut off."""
        self._require_quorum()
        self._index += 1
        return self._machine.apply(self._index, time.time_ns() // 1_000_000, command)

    async def read_barrier(self, timeout_s: float) -> int:
        """The applied index. Raises NoQuorum while cut off."""
        self._require_quorum()
        return self._index

    async def change_members(self, change: Change, timeout_s: float) -> Configuration:
        """Nobody can join a member in memory."""
        raise ChangeRefused("this node runs in memory and alone")

    async def transfer_leadership(self, target: str | None, timeout_s: float) -> bool:
        """There is nobody to lead instead."""
        return False

    def status(self) -> ReplicaStatus:
        """Leads while it has its quorum."""
        cut = self._cut_s is not None
        return ReplicaStatus(
            role=Role.FOLLOWER if cut else Role.LEADER,
            term=1,
            leader_id=None if cut else self._node_id,
            commit_index=self._index,
            applied_index=self._index,
            staleness_s=time.monotonic() - self._cut_s if self._cut_s is not None else 0.0,
            connected=frozenset(),
            configuration=Configuration({self._node_id: "in-memory:0"}),
        )

    def _require_quorum(self) -> None:
        if self._cut_s is not None:
            raise NoQuorum(f"node {self._node_id} is cut off from the quorum")
