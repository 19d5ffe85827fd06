"""A network in which each node dials each other through a relay of its own, so that a node can be cut off.

Only Raft goes through relays: a cut-off node still serves its clients and
reaches its KME, as a site does whose line to the other sites is down.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import Loopback
from qkms_chaos.cluster.relay import Relay


class Relayed(Loopback):
    """Relays listen while it is entered. That from the 1st to the 2nd node listens at 127.2.1.2."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._relays = {
            (caller, target): Relay(f"127.2.{row}.{column}", layout.site(target).raft_port)
            for row, caller in enumerate(layout.nodes, 1)
            for column, target in enumerate(layout.nodes, 1)
            if caller != target
        }
        self._hosts = {
            (caller, target): f"127.2.{row}.{column}"
            for row, caller in enumerate(layout.nodes, 1)
            for column, target in enumerate(layout.nodes, 1)
        }

    def raft(self, caller: str, target: str) -> str:
        """See Network."""
        port = super().raft(caller, target).rpartition(":")[2]
        return f"{self._hosts[caller, target]}:{port}"

    def cut_off(self, node: str) -> None:
        """`node` reaches no other node and none reaches it."""
        self._each(lambda pair: node in pair, Relay.cut)

    def heal(self) -> None:
        """The network is whole; connections from before are reset."""
        self._each(lambda _: True, lambda relay: relay.heal(reset=True))

    def __enter__(self) -> "Relayed":
        self._thread.start()
        for relay in self._relays.values():
            self._run(relay.start()).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for relay in self._relays.values():
            self._run(relay.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _each(self, chosen: Callable[[tuple[str, str]], bool], do: Callable[[Relay], None]) -> None:
        async def all_of_them() -> None:
            for pair, relay in self._relays.items():
                if chosen(pair):
                    do(relay)

        self._run(all_of_them()).result()

    def _run(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)
