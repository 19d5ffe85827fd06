"""A network in which each node dials each other through a relay of its own, so that a node can be cut off.

Only Raft goes through relays: a cut-off node still serves its clients and
reaches its KME, as a site does whose line to the other sites is down.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import Loopback
from qkms_chaos.cluster.relay import Relays


class Relayed(Loopback):
    """Relays listen, on a thread of their own, while it is entered."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._ports = {node: layout.site(node).raft_port for node in layout.nodes}
        self._relays = Relays(self._ports, net=2)

    def raft(self, caller: str, target: str) -> str:
        """See Network."""
        return f"{self._relays.host(caller, target)}:{self._ports[target]}"

    def cut_off(self, node: str) -> None:
        """`node` reaches no other node and none reaches it."""

        async def cut() -> None:
            self._relays.cut_off(node)

        self._run(cut())

    def heal(self) -> None:
        """The network is whole; connections from before are reset."""

        async def heal() -> None:
            self._relays.heal(reset=True)

        self._run(heal())

    def __enter__(self) -> "Relayed":
        self._thread.start()
        self._run(self._relays.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._relays.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()
