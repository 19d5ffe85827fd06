"""Use cases of CryptoService: use a key version, change nothing.

Encrypting uses the primary version, decrypting the one named in the
ciphertext. Whether it may be used, `ledger.usage` decides each time; the cache
only spares unwrapping.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from qkms_node.access.guard import Guard
from qkms_node.errors import InvalidField
from qkms_node.keys.data import (
    CiphertextMalformed,
    CiphertextRejected,
    ciphertext_version,
    derived_key,
    encryption_key,
    open_sealed,
    seal,
)
from qkms_node.keys.secret import VersionSecret
from qkms_node.keys.version import VersionBinding, unwrap_version
from qkms_node.ledger.records import KeyRecord, VersionRecord, VersionState
from qkms_node.ledger.usage import Use, version_for
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Level, Wanted
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

MAX_BYTES = 65_536
CACHED_VERSIONS = 1_024


@dataclass(frozen=True)
class Sealed:
    """A ciphertext and the version that made it."""

    ciphertext: bytes
    version: VersionRecord


class Crypto:
    """Encrypt, decrypt, data keys, derived keys, random bytes."""

    def __init__(self, guard: Guard, store: LedgerStore, roots: RootStore, freshness: Freshness) -> None:
        self._guard = guard
        self._store = store
        self._roots = roots
        self._freshness = freshness
        self._opened: OrderedDict[tuple[str, int, bytes], VersionSecret] = OrderedDict()

    async def encrypt(
        self,
        principal: str,
        key_id: str,
        plaintext: bytes,
        context: Mapping[str, str],
        aad: bytes,
        wanted: Wanted | None,
        action: str = "crypto.encrypt",
    ) -> tuple[Sealed, Wanted]:
        """Encrypts under the primary version; says the consistency satisfied. Raises QkmsError."""
        self._guard.require(principal, action, key_id)
        if len(plaintext) > MAX_BYTES:
            raise InvalidField(
                "plaintext",
                f"is {len(plaintext)} bytes, the limit is {MAX_BYTES}; encrypt large data under a data key",
                code="PLAINTEXT_TOO_LARGE",
                limit=MAX_BYTES,
            )
        effective = await self._fresh(key_id, wanted)
        key, version, material = self._usable(key_id, None, Use.PROTECT)
        data_key = encryption_key(material, key.algorithm, key_id, version.version, context)
        ciphertext = seal(data_key, version.version, plaintext, aad, r=secrets.token_bytes(24))
        return Sealed(ciphertext, version), effective

    async def decrypt(
        self,
        principal: str,
        key_id: str,
        ciphertext: bytes,
        context: Mapping[str, str],
        aad: bytes,
        wanted: Wanted | None,
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """Opens a ciphertext of this key. Raises QkmsError, one code for all that does not verify."""
        self._guard.require(principal, "crypto.decrypt", key_id)
        effective = await self._fresh(key_id, wanted)
        try:
            number = ciphertext_version(ciphertext)
            await self._heard_of(key_id, number)
            key, version, material = self._usable(key_id, number, Use.PROCESS)
            data_key = encryption_key(material, key.algorithm, key_id, number, context)
            return open_sealed(data_key, ciphertext, aad), version, effective
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

    async def data_key(
        self, principal: str, key_id: str, context: Mapping[str, str], wanted: Wanted | None
    ) -> tuple[bytes, Sealed, Wanted]:
        """A fresh data key of 32 bytes, in clear and encrypted under the key."""
        plaintext = secrets.token_bytes(32)
        sealed, effective = await self.encrypt(
            principal, key_id, plaintext, context, b"", wanted, action="crypto.data_key"
        )
        return plaintext, sealed, effective

    async def derive(
        self, principal: str, key_id: str, number: int, context: Mapping[str, str], wanted: Wanted | None
    ) -> tuple[bytes, VersionRecord, Wanted]:
        """The derived key (32 bytes) of a version for a context; `number` 0: the primary version."""
        self._guard.require(principal, "crypto.derive", key_id)
        if not context:
            raise InvalidField("context", "needs at least one pair: it is what sets derived keys apart")
        effective = await self._fresh(key_id, wanted)
        key, version, material = self._usable(key_id, number or None, Use.PROCESS if number else Use.PROTECT)
        derived = derived_key(material, key.algorithm, key_id, version.version, context)
        return derived, version, effective

    def random_bytes(self, principal: str, length: int) -> bytes:
        """`length` bytes from the operating system's generator."""
        self._guard.require(principal, "crypto.random")
        if not 1 <= length <= MAX_BYTES:
            raise InvalidField("length", f"is {length}; it must be 1 to {MAX_BYTES}")
        return secrets.token_bytes(length)

    def sweep(self) -> None:
        """Wipes cached versions whose material the ledger no longer has: destroyed is destroyed."""
        with self._store.view() as state:
            gone = [
                cached
                for cached in self._opened
                if (version := state.versions.get(cached[:2])) is None or version.wrapped != cached[2]
            ]
        for cached in gone:
            self._opened.pop(cached).wipe()

    def wipe(self) -> None:
        """Wipes every cached key version."""
        while self._opened:
            self._opened.popitem()[1].wipe()

    async def _fresh(self, key_id: str, wanted: Wanted | None) -> Wanted:
        """By default a key is used no staler than its own bound allows, so that a revoked
        version stops being used everywhere within that time, also under a partition."""
        if wanted is None or (wanted.level is Level.BOUNDED and not wanted.max_staleness_ms):
            with self._store.view() as state:
                known = state.keys.get(key_id)
            # A key this node has never heard of: only a linearizable look can say that it is not there.
            wanted = Wanted(Level.BOUNDED, 0, known.max_staleness_ms) if known else Wanted(Level.LINEARIZABLE)
        return await self._freshness.ensure(wanted)

    async def _heard_of(self, key_id: str, number: int) -> None:
        """A ciphertext of a version that this node believes staged, or has not heard of, comes from
        a node that knows more: it is caught up with first."""
        with self._store.view() as state:
            version = state.versions.get((key_id, number))
        if version is None or version.state is VersionState.PRE_ACTIVATION:
            await self._freshness.ensure(LINEARIZABLE)

    def _usable(self, key_id: str, number: int | None, use: Use) -> tuple[KeyRecord, VersionRecord, VersionSecret]:
        with self._store.view() as state:
            key, version = version_for(state, key_id, number, use)
            root = state.roots.get(version.epoch)
        assert root is not None
        cached = self._opened.get((key_id, version.version, version.wrapped))
        if cached is not None:
            self._opened.move_to_end((key_id, version.version, version.wrapped))
            return key, version, cached
        bound = VersionBinding(key_id, version.version, key.algorithm, version.epoch)
        material = unwrap_version(self._roots.kek(root), version.wrapped, bound)
        self._opened[key_id, version.version, version.wrapped] = material
        if len(self._opened) > CACHED_VERSIONS:
            self._opened.popitem(last=False)[1].wipe()
        return key, version, material
