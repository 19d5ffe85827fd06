"""QKD keys for the traffic between nodes, from this node's links, for the engine on its own thread.

The engine asks, the work is done on the node's event loop, and the answer is handed back by the function that
came with the question. Leaves out when to ask, which `consensus.link_keys` decides.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from qkms_node.consensus.peer_keys import Drawn
from qkms_node.keys.secret import QkdSecret
from qkms_node.service.links import Links
from qkms_qkd.errors import LinkError


class LinkKeySource:
    """Satisfies `consensus.peer_keys.PeerKeys`. To be made on the node's event loop."""

    def __init__(self, links: Links) -> None:
        self._loop = asyncio.get_running_loop()
        self._links = links
        self._tasks: set[asyncio.Task[None]] = set()

    def draw(self, peer: str, done: Callable[[Drawn | str], None]) -> None:
        """A fresh key shared with `peer`, as master, or the problem."""
        self._begin(self._draw(peer, done))

    def collect(self, peer: str, key_id: str, done: Callable[[QkdSecret | str], None]) -> None:
        """The key that `peer` drew, or the problem."""
        self._begin(self._collect(peer, key_id, done))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        def start() -> None:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self._loop.call_soon_threadsafe(start)
        except RuntimeError:  # the loop is closed: nobody waits for keys any more
            work.close()

    async def _draw(self, peer: str, done: Callable[[Drawn | str], None]) -> None:
        try:
            drawn = await self._links.draw(peer)
        except LinkError as error:
            done(str(error))
            return
        done(Drawn(drawn.key_id, drawn.secret))

    async def _collect(self, peer: str, key_id: str, done: Callable[[QkdSecret | str], None]) -> None:
        try:
            collected = await self._links.collect(peer, key_id)
        except LinkError as error:
            done(str(error))
            return
        done(collected.secret)
