"""How fresh a read is: asked for, waited for, and said.

LINEARIZABLE takes a read barrier begun after the read arrived. BOUNDED
compares the age of this node's last completed barrier with the bound and, if
too old, tries one barrier before it refuses. Nothing is ever degraded
silently.
"""

from dataclasses import dataclass
from enum import IntEnum

from qkms_node.consensus.replica import NoQuorum, Replica
from qkms_node.errors import QkmsError
from qkms_node.service.store import LedgerStore

RETRY_AFTER_S = 0.2


class Level(IntEnum):
    """Consistency levels; numbers are those of the protocol."""

    LINEARIZABLE = 1
    AT_LEAST = 2
    BOUNDED = 3
    STALE_OK = 4


@dataclass(frozen=True)
class Wanted:
    """What a read asks for; `revision` with AT_LEAST, `max_staleness_ms` with BOUNDED."""

    level: Level
    revision: int = 0
    max_staleness_ms: int = 0


LINEARIZABLE = Wanted(Level.LINEARIZABLE)
STALE_OK = Wanted(Level.STALE_OK)


class Freshness:
    """Lets a read wait until this node's ledger is as fresh as it asks."""

    def __init__(self, replica: Replica, store: LedgerStore, timeout_s: float) -> None:
        self._replica = replica
        self._store = store
        self._timeout_s = timeout_s

    async def ensure(self, wanted: Wanted) -> Wanted:
        """Returns once a read of the ledger satisfies `wanted`.

        Raises QkmsError NO_QUORUM, REVISION_NOT_REACHED or TOO_STALE within the barrier timeout.
        """
        match wanted.level:
            case Level.LINEARIZABLE:
                await self._barrier()
            case Level.AT_LEAST:
                await self._reach(wanted.revision)
            case Level.BOUNDED:
                await self._bound(wanted.max_staleness_ms / 1000)
            case Level.STALE_OK:
                pass
        return wanted

    async def _barrier(self) -> None:
        try:
            await self._replica.read_barrier(self._timeout_s)
        except NoQuorum as error:
            raise QkmsError(
                "NO_QUORUM",
                f"a linearizable read needs a quorum: {error}; retry, or ask for BOUNDED or STALE_OK",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    async def _reach(self, revision: int) -> None:
        if await self._store.wait_for(lambda state: state.revision >= revision, self._timeout_s):
            return
        raise QkmsError(
            "REVISION_NOT_REACHED",
            f"this node is at revision {self._store.revision}, not yet at {revision}; retry or ask another node",
            retry_after_s=RETRY_AFTER_S,
            revision=self._store.revision,
        )

    async def _bound(self, bound_s: float) -> None:
        if self._within(bound_s):
            return
        try:
            await self._replica.read_barrier(self._timeout_s)
        except NoQuorum as error:
            staleness = self._replica.status().staleness_s
            age = "unknown" if staleness is None else f"{staleness:.1f} s"
            raise QkmsError(
                "TOO_STALE",
                f"this node's state is too old (age {age}, bound {bound_s:g} s) and no quorum "
                "answers; ask another node, or for STALE_OK where a method allows it",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    def _within(self, bound_s: float) -> bool:
        staleness = self._replica.status().staleness_s
        return staleness is not None and staleness <= bound_s
