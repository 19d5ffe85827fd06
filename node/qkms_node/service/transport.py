"""Use cases of material that comes in or goes out: always wrapped, never in clear outside this process."""

import asyncio
import secrets
import uuid

from qkms.errors import InvalidInput
from qkms.wrapping import Method, WrappingPrivateKey, WrappingRejected, wrap
from qkms_node.access.guard import Guard
from qkms_node.consensus.replica import Replica
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.keys.errors import MaterialRejected
from qkms_node.keys.importing import (
    ImportBinding,
    exported_material,
    imported_material,
    open_import_key,
    seal_import_key,
)
from qkms_node.keys.secret import VersionSecret
from qkms_node.ledger.commands import ImportVersion, NewVersion, OpenImport, Outcome, Request
from qkms_node.ledger.records import VersionRecord, WrappingRecord
from qkms_node.ledger.usage import Use, version_for
from qkms_node.service.freshness import Freshness, Wanted
from qkms_node.service.material import Materials
from qkms_node.service.reading import admit
from qkms_node.service.roots import RootStore
from qkms_node.service.staging import voters
from qkms_node.service.store import LedgerStore

IMPORT_TTL_MS = 3_600_000

_NOTHING = NewVersion(0, 0, b"", b"")


class Transport:
    """Import and export of versions."""

    def __init__(
        self,
        guard: Guard,
        replica: Replica,
        store: LedgerStore,
        roots: RootStore,
        freshness: Freshness,
        materials: Materials,
    ) -> None:
        self._guard = guard
        self._replica = replica
        self._store = store
        self._roots = roots
        self._freshness = freshness
        self._materials = materials
        self._slowly = asyncio.Semaphore(1)

    async def open_import(self, request: Request, key_id: str, method: Method) -> Outcome:
        """A one-time wrapping key, kept in the ledger sealed under the key encryption key. Raises QkmsError."""
        self._guard.require(request.principal, "keys.import", key_id)
        # In a thread: RSA takes a second, and this loop serves everybody.
        private = await asyncio.to_thread(WrappingPrivateKey.generate, method)

        async def propose() -> OpenImport:
            with self._store.view() as state:
                root = state.active_root()
            bound = ImportBinding(key_id, str(uuid.uuid4()), method, root.epoch)
            sealed = seal_import_key(self._roots.kek(root), private, bound)
            return OpenImport(
                request, key_id, bound.import_id, method, private.public, root.epoch, sealed, IMPORT_TTL_MS
            )

        return await self._materials.submit(propose)

    async def import_version(self, request: Request, key_id: str, import_id: str, wrapped: bytes) -> Outcome:
        """Stages material wrapped under the key of `import_id`. Raises QkmsError."""
        self._guard.require(request.principal, "keys.import", key_id)

        async def propose() -> ImportVersion:
            new = await self._taken_in(key_id, import_id, wrapped)
            return ImportVersion(request, key_id, import_id, new, voters(self._replica))

        return await self._materials.submit(propose)

    async def export(
        self, principal: str, key_id: str, number: int, method: Method, public: bytes, wanted: Wanted
    ) -> tuple[bytes, VersionRecord]:
        """The material of a version of an exportable key, wrapped to `public`. Raises QkmsError."""
        await admit(self._guard, self._freshness, wanted, principal, "keys.export", key_id)
        with self._store.view() as state:
            key, version = version_for(state, key_id, number, Use.PROCESS)
            root = state.roots[version.epoch]
        if not key.exportable:
            raise QkmsError(
                "NOT_EXPORTABLE",
                f"keys/{key_id} was not created exportable and never becomes so; its material stays here",
                name=f"keys/{key_id}",
            )
        with self._materials.open(key, version, root) as material:
            try:
                purpose = f"keys/{key_id}/versions/{version.version}"
                return wrap(method, public, exported_material(key.algorithm, material), purpose), version
            except (WrappingRejected, InvalidInput) as error:
                raise InvalidField("public_key", str(error), code="WRAPPING_REJECTED") from error

    async def _taken_in(self, key_id: str, import_id: str, wrapped: bytes) -> NewVersion:
        with self._store.view() as state:
            key = state.key(key_id)
            known = state.wrappings.get(key_id)
            root = state.roots.get(known.epoch) if known is not None else None
        if known is None or known.import_id != import_id or root is None:
            # Used up, perhaps by this very request: the ledger answers that from memory, or refuses.
            return _NOTHING
        private = open_import_key(self._roots.kek(root), known.sealed, _binding(known))
        # In a thread, one at a time: the factors of an RSA key take a second to check.
        async with self._slowly:
            material = await asyncio.to_thread(_opened, private, wrapped, _binding(known).purpose, key.algorithm)
        with material:
            return self._materials.wrap(material, key_id, key.version_count + 1, key.algorithm)


def _opened(private: WrappingPrivateKey, wrapped: bytes, purpose: str, algorithm: str) -> VersionSecret:
    try:
        return imported_material(algorithm, private.unwrap(wrapped, purpose), secrets.token_bytes)
    except (WrappingRejected, MaterialRejected) as error:
        raise InvalidField("wrapped_material", str(error), code=error.code) from None


def _binding(known: WrappingRecord) -> ImportBinding:
    return ImportBinding(known.key_id, known.import_id, Method(known.method), known.epoch)
