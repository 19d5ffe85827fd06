"""Use cases of CryptoService that authenticate: sign, verify, MAC, and the public halves.

Signatures and MACs are as their standards write them, so that other libraries
read them; such an encoding has no place for a version. What protects says which
version it used, what verifies is told.
"""

from qkms_node.access.guard import Guard
from qkms_node.errors import InvalidField
from qkms_node.keys.algorithms import MACS, SIGNATURES, WITH_PUBLIC_KEY
from qkms_node.keys.errors import InputRefused
from qkms_node.keys.scheme import Manner, SignatureScheme
from qkms_node.ledger.records import VersionRecord
from qkms_node.service.admission import Admission
from qkms_node.service.freshness import Wanted
from qkms_node.service.versions import Versions


class Signing:
    """Sign, verify, MAC, verify a MAC, give a public key."""

    def __init__(self, guard: Guard, versions: Versions) -> None:
        self._versions = versions
        self._admission = Admission(guard, versions)

    async def sign(
        self, principal: str, key_id: str, message: bytes, manner: Manner, wanted: Wanted | None
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """A signature by the primary version. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.sign", key_id, wanted)
        used = self._versions.primary(key_id, SIGNATURES, "sign")
        _check(used.scheme, message, manner)
        return used.scheme.sign(used.material, message, manner), used.version, effective

    async def verify(
        self,
        principal: str,
        key_id: str,
        number: int,
        message: bytes,
        signature: bytes,
        manner: Manner,
        wanted: Wanted | None,
    ) -> tuple[bool, VersionRecord, Wanted]:
        """Whether a version made a signature. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.verify", key_id, wanted, (), number)
        used = await self._versions.numbered(key_id, number, SIGNATURES, "verify")
        _check(used.scheme, message, manner)
        valid = used.scheme.verify(used.version.public_key, message, signature, manner)
        return valid, used.version, effective

    async def mac(
        self, principal: str, key_id: str, data: bytes, wanted: Wanted | None
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """A MAC by the primary version. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.mac", key_id, wanted)
        used = self._versions.primary(key_id, MACS, "mac")
        return used.scheme.mac(used.material, data), used.version, effective

    async def verify_mac(
        self, principal: str, key_id: str, number: int, data: bytes, mac: bytes, wanted: Wanted | None
    ) -> tuple[bool, VersionRecord, Wanted]:
        """Whether a version made a MAC. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.verify_mac", key_id, wanted, (), number)
        used = await self._versions.numbered(key_id, number, MACS, "verify mac")
        return used.scheme.verify(used.material, data, mac), used.version, effective

    async def public_key(
        self, principal: str, key_id: str, number: int, wanted: Wanted | None
    ) -> tuple[str, VersionRecord, Wanted]:
        """Algorithm and version, which has the public half; `number` 0: the primary version. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.public_key", key_id, wanted, (), number)
        number = number or self._versions.primary_number(key_id)
        # Opened, so that a public half put in place of the true one in this node's ledger is not given out.
        used = await self._versions.numbered(key_id, number, WITH_PUBLIC_KEY, "get public key")
        return used.key.algorithm, used.version, effective


def _check(scheme: SignatureScheme, message: bytes, manner: Manner) -> None:
    try:
        scheme.check(message, manner)
    except InputRefused as error:
        raise InvalidField(error.field, error.problem) from error
