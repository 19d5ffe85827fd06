"""CryptoService: many calls at once."""

from collections.abc import Iterable
from typing import TypeVar

from qkms_client.aio.runner import AsyncRunner
from qkms_client.batch import Item
from qkms_client.errors import QkmsError
from qkms_client.flows import batch as flows

T = TypeVar("T")


class AsyncBatchCalls(AsyncRunner):
    """Calls made together, with a result each."""

    async def batch(self, items: Iterable[Item[T]], *, timeout: float | None = None) -> list[T | QkmsError]:
        """As Client.batch."""
        return await self._run(flows.run([item.flow(self._rules, timeout) for item in items]))
