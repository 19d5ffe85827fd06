"""Use cases of CryptoService with secret keys: use a key version, change nothing.

Encrypting uses the primary version if it is ACTIVE; decrypting the version
named in the ciphertext, or for RSA-OAEP in the request, if it is ACTIVE or
DEACTIVATED. Signatures are in `service.signing`, key encapsulation in
`service.encapsulating`.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from qkms_node.access.guard import Guard
from qkms_node.errors import InvalidField
from qkms_node.keys.algorithms import ENCRYPTION, SEALING
from qkms_node.keys.data import (
    DERIVED_BYTES,
    CiphertextMalformed,
    CiphertextRejected,
    ciphertext_version,
    derived_key,
    encryption_key,
    open_sealed,
    seal,
)
from qkms_node.keys.errors import PlaintextTooLong
from qkms_node.keys.scheme import PublicKeyEncryptionScheme, Scheme, SealingScheme
from qkms_node.ledger.records import VersionRecord
from qkms_node.service.admission import Admission
from qkms_node.service.freshness import Wanted
from qkms_node.service.versions import Usable, Versions

MAX_BYTES = 65_536


@dataclass(frozen=True)
class Bound:
    """What data is encrypted with besides the key, and needed again to decrypt."""

    context: Mapping[str, str]
    aad: bytes


@dataclass(frozen=True)
class Sealed:
    """A ciphertext and the version that made it."""

    ciphertext: bytes
    version: VersionRecord


class Crypto:
    """Encrypt, decrypt, rewrap, data keys, derived keys, random bytes."""

    def __init__(self, guard: Guard, versions: Versions) -> None:
        self._guard = guard
        self._versions = versions
        self._admission = Admission(guard, versions)

    async def encrypt(
        self,
        principal: str,
        key_id: str,
        plaintext: bytes,
        bound: Bound,
        wanted: Wanted | None,
        action: str = "crypto.encrypt",
    ) -> tuple[Sealed, Wanted]:
        """Encrypts under the primary version; says the consistency satisfied. Raises QkmsError."""
        effective = await self._admission.admit(principal, action, key_id, wanted, bound.context)
        if len(plaintext) > MAX_BYTES:
            raise _too_large(len(plaintext), MAX_BYTES)
        used = self._versions.primary(key_id, ENCRYPTION, "encrypt")
        if isinstance(used.scheme, PublicKeyEncryptionScheme):
            _unbound(used.key.algorithm, bound)
            try:
                return Sealed(used.scheme.encrypt(used.version.public_key, plaintext), used.version), effective
            except PlaintextTooLong as error:
                raise _too_large(len(plaintext), error.limit) from error
        return Sealed(_seal(used, plaintext, bound), used.version), effective

    async def decrypt(
        self,
        principal: str,
        key_id: str,
        ciphertext: bytes,
        number: int,
        bound: Bound,
        wanted: Wanted | None,
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """Opens a ciphertext of this key. Raises QkmsError, one code for all that does not verify."""
        effective = await self._admission.admit(
            principal, "crypto.decrypt", key_id, wanted, bound.context, number or _named(ciphertext)
        )
        with _ciphertext_errors():
            scheme = self._versions.scheme(key_id, ENCRYPTION, "decrypt")
            named = ciphertext_version(ciphertext) if isinstance(scheme, SealingScheme) else number
            if number and number != named:
                raise InvalidField("version", f"is {number}, the ciphertext is under version {named}")
            used = await self._versions.numbered(key_id, named, ENCRYPTION, "decrypt")
            if isinstance(used.scheme, PublicKeyEncryptionScheme):
                _unbound(used.key.algorithm, bound)
                return used.scheme.decrypt(used.material, ciphertext), used.version, effective
            return _open(used, ciphertext, bound), used.version, effective

    async def rewrap(
        self, principal: str, key_id: str, ciphertext: bytes, bound: Bound, wanted: Wanted | None
    ) -> tuple[Sealed, int, Wanted]:
        """A ciphertext under the primary version, and the version it was under. Raises QkmsError.

        One that is under the primary version already comes back as it is, so that a caller
        who rewraps everything writes only what changed.
        """
        effective = await self._admission.admit(
            principal, "crypto.rewrap", key_id, wanted, bound.context, _named(ciphertext)
        )
        with _ciphertext_errors():
            self._versions.scheme(key_id, SEALING, "rewrap")
            source = await self._versions.numbered(key_id, ciphertext_version(ciphertext), SEALING, "rewrap")
            plaintext = _open(source, ciphertext, bound)
        target = self._versions.primary(key_id, SEALING, "rewrap")
        self._guard.still(principal, "crypto.rewrap", key_id, bound.context, int(target.version.grade))
        if target.version.version != source.version.version:
            ciphertext = _seal(target, plaintext, bound)
        return Sealed(ciphertext, target.version), source.version.version, effective

    async def data_key(
        self, principal: str, key_id: str, context: Mapping[str, str], wanted: Wanted | None
    ) -> tuple[bytes, Sealed, Wanted]:
        """A fresh data key of 32 bytes, in clear and encrypted under the key."""
        effective = await self._admission.admit(principal, "crypto.data_key", key_id, wanted, context)
        used = self._versions.primary(key_id, SEALING, "generate data key")
        plaintext = secrets.token_bytes(32)
        return plaintext, Sealed(_seal(used, plaintext, Bound(context, b"")), used.version), effective

    async def derive(
        self,
        principal: str,
        key_id: str,
        number: int,
        context: Mapping[str, str],
        length: int,
        wanted: Wanted | None,
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """The derived key of a version for a context; `number` 0: the primary version, `length` 0: 32 bytes."""
        effective = await self._admission.admit(principal, "crypto.derive", key_id, wanted, context, number)
        if not context:
            raise InvalidField("context", "needs at least one pair: it is what sets derived keys apart")
        length = length or 32
        if length not in DERIVED_BYTES:
            raise InvalidField("length", f"is {length}; it must be {DERIVED_BYTES[0]} to {DERIVED_BYTES[-1]}")
        if number:
            used = await self._versions.numbered(key_id, number, SEALING, "derive")
        else:
            used = self._versions.primary(key_id, SEALING, "derive")
        version = used.version
        derived = derived_key(used.material, used.key.algorithm, key_id, version.version, context, length)
        return derived, version, effective

    def random_bytes(self, principal: str, length: int) -> bytes:
        """`length` bytes from the operating system's generator."""
        self._guard.require(principal, "crypto.random")
        if not 1 <= length <= MAX_BYTES:
            raise InvalidField("length", f"is {length}; it must be 1 to {MAX_BYTES}")
        return secrets.token_bytes(length)


def _seal(used: Usable[Scheme], plaintext: bytes, bound: Bound) -> bytes:
    key, number = used.key, used.version.version
    data_key = encryption_key(used.material, key.algorithm, key.key_id, number, bound.context)
    return seal(data_key, number, plaintext, bound.aad, r=secrets.token_bytes(24))


def _open(used: Usable[Scheme], ciphertext: bytes, bound: Bound) -> bytes:
    key, number = used.key, used.version.version
    data_key = encryption_key(used.material, key.algorithm, key.key_id, number, bound.context)
    return open_sealed(data_key, ciphertext, bound.aad)


def _named(ciphertext: bytes) -> int:
    """The version that a ciphertext names; 0 when it names none."""
    try:
        return ciphertext_version(ciphertext)
    except CiphertextMalformed:
        return 0


def _unbound(algorithm: str, bound: Bound) -> None:
    for field, given in (("context", bound.context), ("additional_authenticated_data", bound.aad)):
        if given:
            raise InvalidField(field, f"cannot be bound by {algorithm}: leave it out, or use a key of AES_256_GCM")


def _too_large(size: int, limit: int) -> InvalidField:
    return InvalidField(
        "plaintext",
        f"is {size} bytes, the limit is {limit}; encrypt large data under a data key",
        code="PLAINTEXT_TOO_LARGE",
        limit=limit,
    )


@contextmanager
def _ciphertext_errors() -> Iterator[None]:
    try:
        yield
    except CiphertextMalformed as error:
        raise InvalidField("ciphertext", str(error), code="CIPHERTEXT_MALFORMED") from error
    except CiphertextRejected as error:
        # Altered data, another context and other authenticated data look alike on purpose:
        # telling them apart would be an oracle.
        raise InvalidField(
            "ciphertext",
            "does not verify: altered, of another key, or with another context or authenticated data",
            code="CIPHERTEXT_REJECTED",
        ) from error
