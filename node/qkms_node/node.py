"""The one place that puts a node together, starts it in order, and shuts it down.

Start: audit files, replica (binds its listener, loads journal and snapshot),
gRPC, metrics, background loops. Shutdown is the reverse: health says
NOT_SERVING, calls in flight drain, the loops end, the replica stops, secrets
are wiped.
"""

import asyncio
from collections.abc import Callable

import structlog

from qkms_node.assembly.background import Background
from qkms_node.assembly.faces import Faces
from qkms_node.assembly.foundation import Foundation
from qkms_node.assembly.health import Health
from qkms_node.config import Config
from qkms_node.consensus.replica import Replica, StateMachine
from qkms_node.service.links import Links
from qkms_node.telemetry.endpoint import Endpoint

log = structlog.get_logger(__name__)

ROOT_PERIOD_S = 0.5

# A library may lose a cancellation, as asyncio.wait_for of Python 3.11 does when its result comes with it.
CANCEL_AGAIN_S = 0.2


class Node:
    """A whole node around a replica and its links, which the caller makes."""

    def __init__(self, config: Config, make_replica: Callable[[StateMachine], Replica], links: Links) -> None:
        self._config = config
        self.base = Foundation(config, make_replica, links)
        self._background = Background(self.base)
        self._health = Health(self.base, self._background)
        self._faces = Faces(self.base, self._background, self._health.servicer)
        self._endpoint: Endpoint | None = None
        if config.metrics is not None:
            self._endpoint = Endpoint(
                config.metrics.listen, self.base.metrics.registry, lambda: self._health.serving
            )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when every listener is bound and the node takes calls."""
        self.base.spool.start()
        self.base.calls.start()
        await self.base.replica.start()
        await self._faces.start()
        if self._endpoint is not None:
            log.info("node.metrics", port=self._endpoint.start())
        loops = self._background.loops() | {"health": self._health.run()}
        self._tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        log.info("node.ready", node=self._config.node.id, rpc=self._config.rpc.listen)

    async def wait_root(self) -> None:
        """Returns when this node holds an active root."""
        while not await self.base.store.wait_for(self.base.holds_root, ROOT_PERIOD_S):
            pass

    async def wait_failed(self) -> str:
        """Returns, with the reason, when a part of the node has failed and it must stop."""
        fatal = asyncio.create_task(self.base.replica.wait_fatal(), name="replica")
        done, _ = await asyncio.wait([fatal, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        fatal.cancel()
        failed = done.pop()
        if failed is fatal:
            return f"replica: {fatal.result()}"
        # Only the kind: the text of an unforeseen exception might hold a secret.
        error = failed.exception()
        return f"{failed.get_name()}: {type(error).__name__}" if error else f"{failed.get_name()} ended"

    async def stop(self) -> None:
        """Drains and stops everything; bounded by rpc.drain_ms and a few seconds."""
        log.info("node.stopping", node=self._config.node.id)
        await self._health.servicer.enter_graceful_shutdown()
        await self._faces.stop(self._config.rpc.drain_ms / 1000)
        await self._end_loops()
        await self.base.links.close()
        await self.base.replica.stop()
        if self._endpoint is not None:
            self._endpoint.stop()
        self.base.close()
        log.info("node.stopped", node=self._config.node.id)

    async def _end_loops(self) -> None:
        """Cancels the background loops until each has ended."""
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            ended, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
            for task in ended:
                if not task.cancelled() and task.exception() is not None:
                    log.warning("node.loop_failed", loop=task.get_name(), kind=type(task.exception()).__name__)
