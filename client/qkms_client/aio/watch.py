"""A watch as an async iterator."""

from collections import deque
from types import TracebackType
from typing import Self

from qkms_client.aio.runner import AsyncRunner, AsyncStream
from qkms_client.errors import ClientClosed
from qkms_client.flows.watch import WatchState
from qkms_client.types import KeyEvent


class AsyncKeyWatch:
    """Iterate to get events; it ends when closed.

    `async with client.watch_keys() as watch:` opens it at once, so that nothing that happens
    inside is missed; otherwise it opens with the first event asked for. `resume_token`,
    kept somewhere safe, takes up later where this watch was (a few events may come again).
    """

    def __init__(self, runner: AsyncRunner, state: WatchState) -> None:
        self._runner = runner
        self._state = state
        self._stream = AsyncStream()
        self._ready: deque[KeyEvent] = deque()
        self._opened = False

    @property
    def resume_token(self) -> str | None:
        """Where to resume, None before the first contact.

        Moves on when the last event of a batch is given out: keep it once that event is dealt with.
        """
        return self._state.resume_token

    async def open(self) -> None:
        """Returns once everything that happens from now on will be delivered. Raises QkmsError."""
        if not self._opened:
            self._ready.extend(await self._runner._run(self._state.begin(), self._stream))
            self._opened = True
            self._settle()

    def close(self) -> None:
        """Ends the watch, also one that another task waits on."""
        self._stream.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KeyEvent:
        try:
            await self.open()
            while not self._ready:
                self._ready.extend(await self._runner._run(self._state.batch(), self._stream))
                self._settle()
        except ClientClosed:
            raise StopAsyncIteration from None
        event = self._ready.popleft()
        self._settle()
        return event

    def _settle(self) -> None:
        if not self._ready:
            self._state.delivered()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
