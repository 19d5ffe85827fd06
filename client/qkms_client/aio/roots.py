"""Seals, recovery and backups."""

import asyncio
from collections.abc import Callable, Sequence
from typing import BinaryIO

from qkms_client.aio.runner import AsyncRunner, AsyncStream
from qkms_client.backup_file import open_backup
from qkms_client.base import new_request_id
from qkms_client.flows import roots as flows
from qkms_client.root_types import RecoveryInfo, RecoveryShares, RestoreResult
from qkms_client.types import SealStatus


class AsyncRootCalls(AsyncRunner):
    """`node` is a node id of the profile."""

    async def seal(self, node: str, *, even_if_last: bool = False, timeout: float | None = None) -> SealStatus:
        """As Client.seal."""
        return await self._run(flows.seal(self._rules, self._one(node), even_if_last, timeout))

    async def unseal(self, node: str, secret: bytes = b"", *, timeout: float | None = None) -> SealStatus:
        """As Client.unseal."""
        return await self._run(flows.unseal(self._rules, self._one(node), secret, timeout))

    async def get_recovery(self, node: str | None = None, *, timeout: float | None = None) -> RecoveryInfo:
        """As Client.get_recovery."""
        return await self._run(flows.get_recovery(self._rules, self._known(node), timeout))

    async def init_recovery(
        self,
        shares: int,
        threshold: int,
        *,
        replace: str | None = None,
        timeout: float | None = None,
    ) -> RecoveryShares:
        """As Client.init_recovery."""
        identity = new_request_id(None)
        return await self._run(flows.init_recovery(self._rules, shares, threshold, replace, identity, timeout))

    async def open_recovery(
        self, node: str, shares: Sequence[str], *, timeout: float | None = None
    ) -> tuple[int, ...]:
        """As Client.open_recovery."""
        return await self._run(flows.open_recovery(self._rules, self._one(node), shares, timeout))

    async def verify_recovery(
        self, shares: Sequence[str], *, node: str | None = None, timeout: float | None = None
    ) -> tuple[int, ...]:
        """As Client.verify_recovery."""
        return await self._run(flows.verify_recovery(self._rules, self._known(node), shares, timeout))

    async def save_backup(
        self,
        write: Callable[[bytes], object],
        *,
        passphrase: bytes | None = None,
        argon2_memory_kib: int | None = None,
        node: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """As Client.save_backup."""
        source = flows.BackupStream(self._rules, self._known(node), passphrase, argon2_memory_kib)
        stream = AsyncStream()
        size = 0
        try:
            await self._run(source.begin(timeout), stream)
            while (data := await self._run(source.piece(), stream)) is not None:
                write(data)
                size += len(data)
        finally:
            stream.cancel()
        return size

    async def restore_backup(
        self,
        file: BinaryIO,
        node: str,
        *,
        passphrase: bytes | None = None,
        shares: Sequence[str] = (),
        timeout: float | None = None,
    ) -> RestoreResult:
        """As Client.restore_backup."""
        opened = await asyncio.to_thread(open_backup, file, passphrase, shares)
        return await self._run(flows.restore_backup(self._rules, self._one(node), opened, file, timeout))

    def _one(self, node: str) -> str:
        known = self._known(node)
        assert known is not None
        return known
