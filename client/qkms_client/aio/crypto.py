"""CryptoService: use of keys."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping

from qkms_client.aio.runner import AsyncRunner
from qkms_client.consistency import Consistency
from qkms_client.flows import crypto as flows
from qkms_client.secret import DataKey, Decrypted, DerivedKey
from qkms_client.types import Encrypted, Key, Rewrapped


class AsyncCryptoCalls(AsyncRunner):
    """`context` are pairs bound into the derived key, `aad` is authenticated with the data; neither
    is secret, and both are needed again to decrypt."""

    async def encrypt(
        self,
        key: str | Key,
        plaintext: bytes,
        *,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Encrypted:
        """As Client.encrypt."""
        return await self._run(flows.encrypt(self._rules, key, plaintext, context, aad, consistency, timeout))

    async def decrypt(
        self,
        key: str | Key,
        ciphertext: bytes | Encrypted,
        *,
        version: int | None = None,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Decrypted:
        """As Client.decrypt."""
        return await self._run(
            flows.decrypt(self._rules, key, ciphertext, version, context, aad, consistency, timeout)
        )

    async def rewrap(
        self,
        key: str | Key,
        ciphertext: bytes | Encrypted,
        *,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Rewrapped:
        """As Client.rewrap."""
        return await self._run(flows.rewrap(self._rules, key, ciphertext, context, aad, consistency, timeout))

    async def rewrap_all(
        self,
        key: str | Key,
        ciphertexts: Iterable[bytes],
        *,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        in_flight: int = 8,
        timeout: float | None = None,
    ) -> AsyncIterator[Rewrapped]:
        """As Client.rewrap_all."""
        waiting: deque[asyncio.Task[Rewrapped]] = deque()
        try:
            for ciphertext in ciphertexts:
                rewrapping = self.rewrap(key, ciphertext, context=context, aad=aad, timeout=timeout)
                waiting.append(asyncio.create_task(rewrapping))
                if len(waiting) == in_flight:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for pending in waiting:
                pending.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def generate_data_key(
        self,
        key: str | Key,
        *,
        context: Mapping[str, str] | None = None,
        without_plaintext: bool = False,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> DataKey:
        """As Client.generate_data_key."""
        return await self._run(
            flows.generate_data_key(self._rules, key, context, without_plaintext, consistency, timeout)
        )

    async def derive_key(
        self,
        key: str | Key,
        context: Mapping[str, str],
        *,
        version: int | None = None,
        length: int = 32,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> DerivedKey:
        """As Client.derive_key."""
        return await self._run(flows.derive_key(self._rules, key, context, version, length, consistency, timeout))

    async def random_bytes(self, length: int, *, timeout: float | None = None) -> bytes:
        """As Client.random_bytes."""
        return await self._run(flows.random_bytes(self._rules, length, timeout))
