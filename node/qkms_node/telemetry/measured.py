"""A replica that counts and times what its callers ask of it, and otherwise is the one inside."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.replica import ConsensusError, Replica, ReplicaStatus
from qkms_node.telemetry.metrics import Metrics
from qkms_node.telemetry.traces import Spans


class MeasuredReplica:
    """A `Replica` around another."""

    def __init__(self, inner: Replica, metrics: Metrics, spans: Spans) -> None:
        self._inner = inner
        self._metrics = metrics
        self._spans = spans

    async def start(self) -> None:
        """As inside."""
        await self._inner.start()

    async def stop(self) -> None:
        """As inside."""
        await self._inner.stop()

    async def wait_fatal(self) -> BaseException:
        """As inside."""
        return await self._inner.wait_fatal()

    async def propose(self, command: bytes, timeout_s: float) -> bytes:
        """As inside, counted and timed."""
        with self._proposal("propose"):
            return await self._inner.propose(command, timeout_s)

    async def change_members(self, change: Change, timeout_s: float) -> Configuration:
        """As inside, counted and timed as a proposal."""
        with self._proposal("change_members"):
            return await self._inner.change_members(change, timeout_s)

    async def read_barrier(self, timeout_s: float) -> int:
        """As inside, counted and timed."""
        begun = time.perf_counter()
        outcome = "cancelled"
        try:
            with self._spans.part("read_barrier"):
                index = await self._inner.read_barrier(timeout_s)
            outcome = "confirmed"
        except ConsensusError as error:
            outcome = error.code
            raise
        finally:
            self._metrics.passed_barrier(outcome, time.perf_counter() - begun)
        return index

    async def transfer_leadership(self, target: str | None, timeout_s: float) -> bool:
        """As inside."""
        return await self._inner.transfer_leadership(target, timeout_s)

    def status(self) -> ReplicaStatus:
        """As inside."""
        return self._inner.status()

    @contextmanager
    def _proposal(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        outcome = "cancelled"
        try:
            with self._spans.part(name):
                yield
            outcome = "committed"
        except ConsensusError as error:
            outcome = error.code
            raise
        finally:
            self._metrics.proposed(outcome, time.perf_counter() - begun)
