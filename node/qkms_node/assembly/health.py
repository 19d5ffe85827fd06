"""What a node says of its health, over gRPC and over HTTP: apart for reads, writes, audit and certificate."""

import asyncio

from grpc_health.v1 import health, health_pb2

from qkms_node.assembly.background import Background
from qkms_node.assembly.foundation import Foundation

READ = "qkms.read"
WRITE = "qkms.write"
# NOT_SERVING when the node's certificate has expired or soon will: a warning, calls are served.
CERTIFICATE = "qkms.certificate"
AUDIT = "qkms.audit"
PERIOD_S = 0.5


class Health:
    """Looks at the node twice a second. `servicer` is the grpc.health.v1 one, `serving` what HTTP shows."""

    def __init__(self, base: Foundation, background: Background) -> None:
        self._base = base
        self._background = background
        self.servicer = health.aio.HealthServicer()
        self.serving = {"read": False, "write": False, "certificate": False}

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._look()
            await asyncio.sleep(PERIOD_S)

    async def _look(self) -> None:
        bound_s = self._base.config.limits.default_max_staleness_ms / 1000
        status = self._base.replica.status()
        fresh = status.staleness_s is not None and status.staleness_s <= bound_s
        with self._base.store.view() as state:
            ready = self._base.holds_root(state)
        audit = self._background.audit
        read = fresh and ready and not audit.refuses
        write = read and status.leader_id is not None
        certificate = not self._background.certificates.warnings
        self.serving = {"read": read, "write": write, "certificate": certificate}
        await self._set(READ, read)
        await self._set(WRITE, write)
        await self._set(AUDIT, not audit.failure)
        await self._set(CERTIFICATE, certificate)
        await self._set("", True)

    async def _set(self, service: str, serving: bool) -> None:
        response = health_pb2.HealthCheckResponse
        await self.servicer.set(service, response.SERVING if serving else response.NOT_SERVING)
