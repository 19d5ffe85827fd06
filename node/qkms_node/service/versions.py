"""Which version of a key may be used for what, and its material, opened.

`ledger.usage` decides each time; the cache of opened versions only spares
unwrapping. It is the one place where version material of any kind stays in
memory, and it wipes what may not be used any more (suspended, destroyed),
what was wrapped anew, what is crowded out, and all of it at the end.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from qkms_node.errors import InvalidField, QkmsError
from qkms_node.keys.algorithms import ALGORITHMS
from qkms_node.keys.scheme import Scheme
from qkms_node.keys.secret import VersionSecret
from qkms_node.keys.version import VersionBinding, check_version, unwrap_version
from qkms_node.ledger.records import KeyRecord, VersionRecord, VersionState
from qkms_node.ledger.transitions import DECRYPTS
from qkms_node.ledger.usage import Use, version_for
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Level, Wanted
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore
from qkms_node.telemetry.state import CacheUse

CACHED_VERSIONS = 1_024

S = TypeVar("S", bound=Scheme)
S_co = TypeVar("S_co", bound=Scheme, covariant=True)


@dataclass(frozen=True)
class Usable(Generic[S_co]):
    """A version that may be used. `material` belongs to the cache: used before the next await, not kept."""

    key: KeyRecord
    version: VersionRecord
    scheme: S_co
    material: VersionSecret


class Versions:
    """Finds and opens the versions that calls use."""

    def __init__(self, store: LedgerStore, roots: RootStore, freshness: Freshness) -> None:
        self._store = store
        self._roots = roots
        self._freshness = freshness
        self._opened: OrderedDict[tuple[str, int, bytes], VersionSecret] = OrderedDict()
        self._hits = self._misses = 0

    def cache_use(self) -> CacheUse:
        """Since the start."""
        return CacheUse(self._hits, self._misses, len(self._opened))

    async def fresh(self, key_id: str, wanted: Wanted | None) -> Wanted:
        """Waits until the ledger is as fresh as asked for; says the level that holds.

        A key is used no staler than its own bound allows, whatever a caller would put up with, so that a
        revoked version stops being used everywhere within that time, also under a partition.
        """
        with self._store.view() as state:
            known = state.keys.get(key_id)
        if known is None:
            # Of a key that this node has never heard of, only a linearizable look can say that it is not there.
            return await self._freshness.ensure(wanted or Wanted(Level.LINEARIZABLE))
        own = Wanted(Level.BOUNDED, 0, known.max_staleness_ms)
        if wanted is None or wanted.level is Level.STALE_OK:
            return await self._freshness.ensure(own)
        if wanted.level is Level.BOUNDED:
            bound_ms = min(wanted.max_staleness_ms or own.max_staleness_ms, own.max_staleness_ms)
            return await self._freshness.ensure(Wanted(Level.BOUNDED, 0, bound_ms))
        if wanted.level is Level.AT_LEAST:
            # A revision says nothing of time: a node that is cut off has it for ever.
            await self._freshness.ensure(own)
        return await self._freshness.ensure(wanted)

    def scheme(self, key_id: str, family: Mapping[str, S], operation: str) -> S:
        """The key's algorithm as one of `family`, which is what has `operation`.

        Raises QkmsError KEY_NOT_FOUND, ALGORITHM_UNSUITABLE.
        """
        with self._store.view() as state:
            algorithm = state.key(key_id).algorithm
        scheme = family.get(algorithm)
        if scheme is None:
            operations = ", ".join(ALGORITHMS[algorithm].operations)
            raise QkmsError(
                "ALGORITHM_UNSUITABLE",
                f"keys/{key_id} has algorithm {algorithm}, which cannot {operation}; it can: {operations}",
                algorithm=algorithm,
                operation=operation,
                operations=operations,
            )
        return scheme

    def grade(self, key_id: str, number: int = 0) -> int:
        """The grade of a version, `number` 0: the primary one; 0 when there is no such version here."""
        with self._store.view() as state:
            key = state.keys.get(key_id)
            version = state.versions.get((key_id, number or key.primary)) if key else None
        return int(version.grade) if version else 0

    def primary_number(self, key_id: str) -> int:
        """The number of the primary version. Raises QkmsError KEY_NOT_FOUND, NO_PRIMARY_VERSION and the like."""
        with self._store.view() as state:
            return version_for(state, key_id, None, Use.PROCESS)[1].version

    def primary(self, key_id: str, family: Mapping[str, S], operation: str) -> Usable[S]:
        """The primary version, to protect something with. Raises QkmsError."""
        return self._usable(key_id, None, self.scheme(key_id, family, operation), Use.PROTECT)

    async def numbered(self, key_id: str, number: int, family: Mapping[str, S], operation: str) -> Usable[S]:
        """A version, to process what it protected; the number is the caller's. Raises QkmsError."""
        scheme = self.scheme(key_id, family, operation)
        if not number:
            raise InvalidField("version", "is needed: the version that the protecting call named")
        await self._heard_of(key_id, number)
        return self._usable(key_id, number, scheme, Use.PROCESS)

    def sweep(self) -> None:
        """Wipes cached versions that the ledger no longer has, has wrapped anew, or lets nobody use."""
        with self._store.view() as state:
            gone = [
                cached
                for cached in self._opened
                if (version := state.versions.get(cached[:2])) is None
                or version.wrapped != cached[2]
                or version.state not in DECRYPTS
            ]
        for cached in gone:
            self._opened.pop(cached).wipe()

    def wipe(self) -> None:
        """Wipes every cached key version."""
        while self._opened:
            self._opened.popitem()[1].wipe()

    async def _heard_of(self, key_id: str, number: int) -> None:
        """A caller that names a version which this node believes staged, or has not heard of, was
        told of it by a node that knows more: this one catches up first. Raises QkmsError NO_QUORUM."""
        with self._store.view() as state:
            version = state.versions.get((key_id, number))
        if version is None or version.state is VersionState.PRE_ACTIVATION:
            await self._freshness.ensure(LINEARIZABLE)

    def _usable(self, key_id: str, number: int | None, scheme: S, use: Use) -> Usable[S]:
        with self._store.view() as state:
            key, version = version_for(state, key_id, number, use)
            root = state.roots.get(version.epoch)
        cached = (key_id, version.version, version.wrapped)
        material = self._opened.get(cached)
        if material is not None:
            self._hits += 1
        else:
            self._misses += 1
            assert root is not None
            bound = VersionBinding(key_id, version.version, key.algorithm, version.epoch)
            material = unwrap_version(self._roots.kek(root), version.wrapped, bound)
            check_version(material, key_id, version.version, version.public_key, version.check_value)
            self._opened[cached] = material
            if len(self._opened) > CACHED_VERSIONS:
                self._opened.popitem(last=False)[1].wipe()
        self._opened.move_to_end(cached)
        return Usable(key, version, scheme, material)
