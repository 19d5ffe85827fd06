"""The ledger as the running node holds it: applied by consensus, read by services.

The consensus layer calls `apply` and `snapshot` from its own thread, in log
order, and has a snapshot restored beside the ledger in use on another; services
read under the lock from the event loop.
Wake-ups cross over through the loop and are coalesced: many applied commands
cause one.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from qkms_node.access.spool import Spool
from qkms_node.errors import QkmsError
from qkms_node.ledger.apply import apply
from qkms_node.ledger.commands import decode_command, encode_outcome
from qkms_node.ledger.snapshot import digest, restore, snapshot
from qkms_node.ledger.state import Refusal, State


class LedgerStore:
    """A `StateMachine` for the replica and a readable ledger for the services."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spool: Spool | None = None) -> None:
        self._loop = loop
        self._spool = spool
        # Reentrant: a reader who looks at the state asks the guard, who looks at it too.
        self._lock = threading.RLock()
        self._state = State()
        self._applied = 0
        self._changed = asyncio.Event()
        self._wake_pending = False

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        """Applies one committed command and returns the encoded outcome."""
        decoded = decode_command(command)
        with self._lock:
            outcome = apply(self._state, decoded, time_ms)
            if self._spool is not None:
                self._spool.follow(self._state)
            self._state.index = index
            self._applied += 1
        self.wake()
        return encode_outcome(outcome)

    def snapshot(self) -> Iterator[bytes]:
        """The state at this moment, streamed while later commands are applied."""
        with self._lock:
            return snapshot(self._state)

    def restore(self, chunks: Iterable[bytes]) -> Callable[[], Iterator[None]]:
        """Reads a snapshot, on any thread; a snapshot that cannot be read changes nothing.

        What is returned puts its state in the place of the present one, and gives the steps that free that.
        """
        state = restore(chunks)

        def install() -> Iterator[None]:
            with self._lock:
                replaced, self._state = self._state, state
            self.wake()
            return replaced.dismantle()

        return install

    @contextmanager
    def view(self) -> Iterator[State]:
        """The state, for a short read: nothing is applied meanwhile.

        A ledger refusal raised inside (a key that is not there) leaves as QkmsError of its code.
        """
        with self._lock:
            try:
                yield self._state
            except Refusal as refusal:
                raise QkmsError(refusal.code, refusal.message, None, **refusal.metadata) from None

    @property
    def revision(self) -> int:
        """The ledger's revision now."""
        return self._state.revision

    def digest(self) -> tuple[int, int, bytes]:
        """Index of the last command applied, revision and SHA-256 of the state, taken together."""
        with self._lock:
            return self._state.index, self._state.revision, digest(self._state)

    @property
    def applied(self) -> int:
        """How many commands this process has applied; grows by one with each."""
        return self._applied

    async def wait_applied(self, count: int, timeout_s: float) -> bool:
        """Waits until more than `count` commands were applied; False when `timeout_s` passes first."""
        return await self.wait_for(lambda _: self._applied > count, timeout_s)

    async def wait_for(self, condition: Callable[[State], bool], timeout_s: float) -> bool:
        """Waits until `condition` holds; False when `timeout_s` passes first."""
        deadline = self._loop.time() + timeout_s
        while True:
            event = self._changed
            with self.view() as state:
                if condition(state):
                    return True
            remaining = deadline - self._loop.time()
            if remaining <= 0:
                return False
            try:
                # Not asyncio.wait_for, which in Python 3.11 loses a cancellation that comes with the wake-up.
                async with asyncio.timeout(remaining):
                    await event.wait()
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Lets everybody who waits look again."""
        if not self._wake_pending and not self._loop.is_closed():
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        # Cleared before waiters run: an apply that lands now schedules another wake-up.
        self._wake_pending = False
        self._changed.set()
        self._changed = asyncio.Event()
