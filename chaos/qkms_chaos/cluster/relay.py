"""TCP relays that can be cut, as a network that loses every packet is: one, and one for each pair of members.

A cut relay holds what is under way, closings included: nobody is told. Healed,
it goes on, and what was held arrives late; or, when the cut outlasted the
connections, they are reset and must be made anew.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

CHUNK_BYTES = 256 * 1024


class Relay:
    """Listens at `host` (a loopback address) and `port`, and relays to that port of 127.0.0.1."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, self._host, self._port, limit=CHUNK_BYTES)

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
                answers, onward = await asyncio.open_connection("127.0.0.1", self._port, limit=CHUNK_BYTES)
                writers.append(onward)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, onward))
                    both.create_task(self._carry(answers, writer))
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
        sink.close()


class Relays:
    """Between `members` (id -> port at 127.0.0.1) everyone dials through a relay of its own.

    The relay from the 1st to the 2nd member listens at 127.`net`.1.2, at the port of the 2nd.
    """

    def __init__(self, members: Mapping[str, int], net: int) -> None:
        self._places = {member: place for place, member in enumerate(members, 1)}
        self._net = net
        self._relays = {
            (caller, target): Relay(self.host(caller, target), port)
            for caller in members
            for target, port in members.items()
            if caller != target
        }

    def host(self, caller: str, target: str) -> str:
        """Where `caller` dials `target`."""
        return f"127.{self._net}.{self._places[caller]}.{self._places[target]}"

    async def start(self) -> None:
        for relay in self._relays.values():
            await relay.start()

    def cut_off(self, member: str) -> None:
        """`member` reaches nobody and nobody reaches it."""
        self._each(lambda caller, target: member in (caller, target), Relay.cut)

    def silence(self, member: str) -> None:
        """What `member` sends arrives nowhere; it still hears the others."""
        self._each(lambda caller, _: caller == member, Relay.cut)

    def heal(self, *, reset: bool = False) -> None:
        """The network is whole; `reset`: connections from before are reset."""
        self._each(lambda *_: True, lambda relay: relay.heal(reset=reset))

    async def close(self) -> None:
        await asyncio.gather(*(relay.close() for relay in self._relays.values()))

    def _each(self, chosen: Callable[[str, str], bool], do: Callable[[Relay], None]) -> None:
        for pair, relay in self._relays.items():
            if chosen(*pair):
                do(relay)
