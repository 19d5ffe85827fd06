"""Keys for SAEs: draw as master, collect as slave, each with the checks of ETSI GS QKD 014.

A draw reserves keys here, has the peer KME assign them to the slave, and only then delivers, so
that both ends hold a key before either gives it away. If the peer's answer is lost, both ends forget the
keys. Knows nothing of HTTP; errors say which answer of the standard they are. Vendor extensions:
`status_extension` {qber, skr_bps, link_state} and `key_extension` {age_s}. Left out: additional slave SAEs and
mandatory extensions.
"""

import os
from collections.abc import Callable, Mapping, Sequence

import structlog
from msgspec.structs import replace

from qkms_qkd.identity import PeerCertificate, principal, sae_id
from qkms_qkd.kme.channel import ChannelError, NotGreetedError
from qkms_qkd.kme.channel_messages import Assign, Parts
from qkms_qkd.kme.pool import KeyNotFoundError, NotNamedError, Pool, TooFewKeysError
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.worker import Worker
from qkms_qkd.link import QkdKey
from qkms_qkd.serving.supply import (
    Caller,
    Delivered,
    Demand,
    KeysNotFoundError,
    RefusedError,
    Standing,
    StrangerError,
    Supplied,
    Terms,
    UnavailableError,
)

log = structlog.get_logger(__name__)

_ATTEMPTS = 5


class Delivery:
    """The `Supply` of one KME, whose clock `now_s` is (Unix seconds)."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        worker: Worker,
        links: Mapping[str, QuantumLink],
        now_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._pool = pool
        self._worker = worker
        self._links = links
        keys = settings.keys
        self.terms = Terms(
            keys.size_bits, keys.min_size_bits, keys.max_size_bits, keys.max_stored, keys.max_per_request
        )

    def caller(self, certificate: PeerCertificate) -> Caller | None:
        """As Supply.caller: the SAE must be one of this KME."""
        sae = sae_id(certificate, self._settings.kme.sae_identity)
        if sae is None or self._settings.kme_of(sae) != self._settings.kme.id:
            return None
        return Caller(sae, principal(certificate) or sae)

    def remotes(self, caller: Caller) -> list[str]:
        """The SAEs of the KMEs that there are links to."""
        return [sae.id for sae in self._settings.saes if sae.kme in self._links]

    async def standing(self, caller: Caller, slave: str) -> Standing:
        """How the link to the slave's KME stands. Raises RefusedError."""
        link = self.link_to(caller.sae, slave)
        return Standing(self._settings.kme.id, link.peer, await self.stored(link), _extension(link))

    def entropy(self, caller: Caller, size_bytes: int) -> bytes:
        """From the operating system."""
        return os.urandom(size_bytes)

    def link_to(self, caller: str, other: str) -> QuantumLink:
        """The link that joins the caller, an SAE of this KME, to another SAE. Raises RefusedError."""
        if other == caller:
            raise RefusedError("master and slave SAE shall differ")
        kme = self._settings.kme_of(other)
        if kme is None:
            raise RefusedError(f"SAE {other} is not known to KME {self._settings.kme.id}")
        link = self._links.get(kme)
        if link is None:
            raise RefusedError(f"there is no link from KME {self._settings.kme.id} to KME {kme} of SAE {other}")
        return link

    async def stored(self, link: QuantumLink) -> int:
        """How many keys of the default size may be drawn from this link."""
        return await self._worker.run(self._pool.free, link.peer)

    async def draw(self, caller: Caller, demand: Demand) -> Delivered:
        """Fresh keys for the caller, held for the slave at the peer. Raises RefusedError, UnavailableError."""
        [slave] = demand.slaves
        link = self.link_to(caller.sae, slave)
        collided: set[str] = set()
        for _ in range(_ATTEMPTS):
            assign = Assign(caller.sae, slave, demand.size_bits, [])
            deliveries = await self._reserve(link, assign, demand.number, collided)
            if await self._assigned(link, replace(assign, deliveries=deliveries), collided):
                return _delivered(await self._deliver(deliveries))
        raise UnavailableError("STORE_EXHAUSTED", "keys are being drawn at both ends at once; ask again")

    async def collect(self, caller: Caller, master: str, key_ids: Sequence[str]) -> Delivered:
        """The keys of these ids that `master` drew for the caller. Raises RefusedError, StrangerError."""
        self.link_to(caller.sae, master)
        try:
            keys = await self._worker.run(self._pool.collect, master, caller.sae, key_ids, self._now_s())
        except KeyNotFoundError:
            raise KeysNotFoundError from None
        except NotNamedError:
            raise StrangerError from None
        return _delivered(keys)

    async def hear_assign(self, link: QuantumLink, demand: Assign) -> tuple[list[str], list[str]]:
        """The peer drew keys for one of our SAEs: unknown and busy key ids, both empty when assigned.

        Raises StrangerError if the SAEs are not the peer's and ours.
        """
        own = self._settings.kme.id
        if self._settings.kme_of(demand.master) != link.peer or self._settings.kme_of(demand.slave) != own:
            raise StrangerError
        answer = await self._worker.run(self._pool.assign, link.peer, demand, not link.runs_model, self._now_s())
        return answer.unknown, answer.busy

    async def expire(self) -> None:
        """Deletes keys that nobody collected in time."""
        before_s = self._now_s() - self._settings.keys.max_uncollected_s
        if expired := await self._worker.run(self._pool.expire, before_s):
            log.warning("keys.expired", count=expired)

    async def _reserve(self, link: QuantumLink, demand: Assign, number: int, excluding: set[str]) -> list[Parts]:
        parity = 1 if link.runs_model else 0
        try:
            return await self._worker.run(self._pool.reserve, link.peer, demand, number, parity, excluding)
        except TooFewKeysError as error:
            raise UnavailableError(
                "STORE_EXHAUSTED",
                f"the store of the link to KME {link.peer} is exhausted: {error}; ask again later",
            ) from None

    async def _assigned(self, link: QuantumLink, demand: Assign, collided: set[str]) -> bool:
        """Whether the peer holds the reserved keys for the slave; if not they are free again or gone."""
        try:
            answer = await link.channel.assign(demand)
        except (ChannelError, NotGreetedError) as error:
            if isinstance(error, ChannelError) and not error.definite:
                await self._worker.run(self._pool.abandon, demand.deliveries)
            else:
                await self._worker.run(self._pool.release, demand.deliveries, ())
            log.warning("draw.peer_failed", peer=link.peer, reason=str(error))
            raise UnavailableError(
                "LINK_DOWN",
                f"KME {link.peer} does not answer, so a key cannot be held at both ends; ask again later",
            ) from error
        if not answer.unknown and not answer.busy:
            return True
        collided.update(answer.busy)
        await self._worker.run(self._pool.release, demand.deliveries, answer.unknown)
        return False

    async def _deliver(self, deliveries: list[Parts]) -> list[QkdKey]:
        try:
            return await self._worker.run(self._pool.deliver, deliveries, self._now_s())
        except KeyNotFoundError:
            await self._worker.run(self._pool.abandon, deliveries)
            raise UnavailableError(
                "STORE_EXHAUSTED", "the keys were discarded while being drawn; ask again"
            ) from None


def _delivered(keys: list[QkdKey]) -> Delivered:
    return Delivered([Supplied(key, {"age_s": round(key.age_s or 0.0, 3)}) for key in keys])


def _extension(link: QuantumLink) -> dict[str, object]:
    state = link.state()
    measured = state.report if state.up else None
    return {
        "qber": measured.qber if measured else None,
        "skr_bps": measured.skr_bps if measured else 0.0,
        "link_state": "up" if state.up else "down",
    }
