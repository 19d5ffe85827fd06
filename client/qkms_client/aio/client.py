"""AsyncClient: the SDK for asyncio."""

from pathlib import Path
from types import TracebackType
from typing import Self

from qkms_client.aio.access import AsyncAccessCalls
from qkms_client.aio.audit import AsyncAuditCalls
from qkms_client.aio.batch import AsyncBatchCalls
from qkms_client.aio.cluster import AsyncClusterCalls
from qkms_client.aio.crypto import AsyncCryptoCalls
from qkms_client.aio.keys import AsyncKeyCalls
from qkms_client.aio.lifecycle import AsyncLifecycleCalls
from qkms_client.aio.members import AsyncMemberCalls
from qkms_client.aio.roots import AsyncRootCalls
from qkms_client.aio.sessions import AsyncSessionCalls
from qkms_client.aio.signing import AsyncSigningCalls
from qkms_client.aio.tenants import AsyncTenantCalls
from qkms_client.profile import load_profile


class AsyncClient(
    AsyncKeyCalls,
    AsyncLifecycleCalls,
    AsyncCryptoCalls,
    AsyncSigningCalls,
    AsyncBatchCalls,
    AsyncSessionCalls,
    AsyncClusterCalls,
    AsyncMemberCalls,
    AsyncAccessCalls,
    AsyncTenantCalls,
    AsyncAuditCalls,
    AsyncRootCalls,
):
    """A connection to the cluster as one principal. Belongs to one event loop.

    While many calls of CryptoService are under way at a node, they share a stream to it; with
    `streams=False` each is an RPC of its own.

    Retries at other nodes by itself until the call's deadline; a mutation is only ever
    repeated with its own request_id. Reads see at least what this client has seen before.
    """

    @classmethod
    def from_profile(cls, path: str | Path | None = None) -> Self:
        """As Client.from_profile."""
        return cls(load_profile(path))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
