"""CryptoService: signatures, MACs, public keys, key encapsulation."""

from qkms_client.aio.runner import AsyncRunner
from qkms_client.consistency import Consistency
from qkms_client.flows import kem, signing
from qkms_client.secret import Decapsulated, Encapsulated
from qkms_client.types import Key, Mac, PublicKey, Signature, Verification


class AsyncSigningCalls(AsyncRunner):
    """What verifies or decapsulates needs the version that made it: pass the result of `sign`, `mac` or
    `encapsulate` as it is, or its bytes and `version`."""

    async def sign(
        self,
        key: str | Key,
        message: bytes,
        *,
        digested: bool = False,
        context: bytes = b"",
        p1363: bool = False,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Signature:
        """As Client.sign."""
        manner = signing.Manner(digested, context, p1363)
        return await self._run(signing.sign(self._rules, key, message, manner, consistency, timeout))

    async def verify(
        self,
        key: str | Key,
        message: bytes,
        signature: bytes | Signature,
        *,
        version: int | None = None,
        digested: bool = False,
        context: bytes = b"",
        p1363: bool = False,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """As Client.verify."""
        manner = signing.Manner(digested, context, p1363)
        return await self._run(
            signing.verify(self._rules, key, message, signature, version, manner, consistency, timeout)
        )

    async def mac(
        self,
        key: str | Key,
        data: bytes,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Mac:
        """As Client.mac."""
        return await self._run(signing.mac(self._rules, key, data, consistency, timeout))

    async def verify_mac(
        self,
        key: str | Key,
        data: bytes,
        mac: bytes | Mac,
        *,
        version: int | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """As Client.verify_mac."""
        return await self._run(signing.verify_mac(self._rules, key, data, mac, version, consistency, timeout))

    async def get_public_key(
        self,
        key: str | Key,
        *,
        version: int | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> PublicKey:
        """As Client.get_public_key."""
        return await self._run(signing.get_public_key(self._rules, key, version, consistency, timeout))

    async def encapsulate(
        self, key: str | Key, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Encapsulated:
        """As Client.encapsulate."""
        return await self._run(kem.encapsulate(self._rules, key, consistency, timeout))

    async def decapsulate(
        self,
        key: str | Key,
        ciphertext: bytes | Encapsulated,
        *,
        version: int | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Decapsulated:
        """As Client.decapsulate."""
        return await self._run(kem.decapsulate(self._rules, key, ciphertext, version, consistency, timeout))
