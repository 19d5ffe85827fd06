"""Use cases of CryptoService for key encapsulation (FIPS 203, and the hybrid with X25519)."""

from qkms_node.access.guard import Guard
from qkms_node.errors import InvalidField
from qkms_node.keys.algorithms import KEMS
from qkms_node.keys.errors import CiphertextMalformed, CiphertextRejected
from qkms_node.ledger.records import VersionRecord
from qkms_node.service.admission import Admission
from qkms_node.service.freshness import Wanted
from qkms_node.service.versions import Versions


class Encapsulating:
    """Encapsulate and decapsulate."""

    def __init__(self, guard: Guard, versions: Versions) -> None:
        self._versions = versions
        self._admission = Admission(guard, versions)

    async def encapsulate(
        self, principal: str, key_id: str, wanted: Wanted | None
    ) -> tuple[bytes, bytes, VersionRecord, Wanted]:
        """A ciphertext for the primary version and the shared secret in it. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.encapsulate", key_id, wanted)
        used = self._versions.primary(key_id, KEMS, "encapsulate")
        ciphertext, secret = used.scheme.encapsulate(used.version.public_key)
        return ciphertext, secret, used.version, effective

    async def decapsulate(
        self, principal: str, key_id: str, number: int, ciphertext: bytes, wanted: Wanted | None
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """The shared secret in a ciphertext for a version. Raises QkmsError."""
        effective = await self._admission.admit(principal, "crypto.decapsulate", key_id, wanted, (), number)
        used = await self._versions.numbered(key_id, number, KEMS, "decapsulate")
        try:
            return used.scheme.decapsulate(used.material, ciphertext), used.version, effective
        except CiphertextMalformed as error:
            raise InvalidField("ciphertext", str(error), code="CIPHERTEXT_MALFORMED") from error
        except CiphertextRejected as error:
            raise InvalidField("ciphertext", str(error), code="CIPHERTEXT_REJECTED") from error
