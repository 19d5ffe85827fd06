"""The network between members as TCP relays, one for each pair and direction, that can be cut.

A member dials a peer through the relay of that pair. A cut relay holds what is
under way, closings included, as a network that loses every packet does: nobody
is told. Healed, it goes on, and what was held arrives late; or, when the cut
outlasted the connections, they are reset and must be made anew.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

CHUNK_BYTES = 256 * 1024


class Relay:
    """Listens on a free loopback port and relays to `target` (host:port)."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._whole = asyncio.Event()
        self._whole.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=CHUNK_BYTES)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    def cut(self) -> None:
        """From now on nothing gets through, in either direction of a connection."""
        self._whole.clear()

    def heal(self, *, reset: bool = False) -> None:
        """What was held goes on; `reset`: instead all connections are reset."""
        if reset:
            for connection in self._connections:
                connection.cancel()
        self._whole.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.heal(reset=True)
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        writers = [writer]
        try:
            await self._whole.wait()
            with suppress(OSError):
                onward_reader, onward_writer = await asyncio.open_connection(
                    self._host, int(self._port), limit=CHUNK_BYTES
                )
                writers.append(onward_writer)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, onward_writer))
                    both.create_task(self._carry(onward_reader, writer))
        except asyncio.CancelledError:
            pass
        finally:
            self._connections.discard(connection)
            for one in writers:
                one.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        await self._whole.wait()
        sink.transport.abort() if source.exception() else sink.close()


class Relays:
    """Between `members` (id -> host:port) everyone dials through a relay of its own."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self._members = dict(members)
        self._relays = {
            (caller, target): Relay(address)
            for target, address in members.items()
            for caller in members
            if caller != target
        }

    async def start(self) -> None:
        for relay in self._relays.values():
            await relay.start()

    def seen_by(self, caller: str) -> dict[str, str]:
        """The members' addresses as `caller` dials them."""
        return {
            target: address if target == caller else self._relays[caller, target].address
            for target, address in self._members.items()
        }

    def cut_off(self, member: str) -> None:
        """`member` reaches nobody and nobody reaches it."""
        self._each(lambda caller, target: member in (caller, target), Relay.cut)

    def silence(self, member: str) -> None:
        """What `member` sends arrives nowhere; it still hears the others."""
        self._each(lambda caller, _: caller == member, Relay.cut)

    def heal(self, *, reset: bool = False) -> None:
        """The network is whole."""
        self._each(lambda *_: True, lambda relay: relay.heal(reset=reset))

    async def close(self) -> None:
        await asyncio.gather(*(relay.close() for relay in self._relays.values()))

    def _each(self, chosen: Callable[[str, str], bool], do: Callable[[Relay], None]) -> None:
        for pair, relay in self._relays.items():
            if chosen(*pair):
                do(relay)
