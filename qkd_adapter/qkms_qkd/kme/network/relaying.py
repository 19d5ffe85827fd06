"""Keys for SAEs whose KMEs no usable link joins: the master's KME draws them at random and has them carried.

A key is the XOR of shares, one for each of the disjoint routes asked for; a slave whose link is usable gets it
over that link alone, where nobody is in between. Several slaves get the same key, each over routes of its own.

A link that failed is avoided for a while, and everything begins anew under other key_IDs: what may have arrived of
the failed attempt is never named to anybody, and expires. Left out: routes by quality.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import Sequence
from functools import reduce

import structlog

from qkms_qkd.kme.network.carrier import HOP_S, Carrier
from qkms_qkd.kme.network.messages import Carry, Failure, Part, Reach
from qkms_qkd.kme.network.pads import xor
from qkms_qkd.kme.network.route import Edge, Route, relays
from qkms_qkd.kme.network.section import NetworkSection
from qkms_qkd.kme.network.shares import ShareStore
from qkms_qkd.kme.network.topology import Topology
from qkms_qkd.kme.pool import stored_keys
from qkms_qkd.kme.provenance import relayed
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.worker import Worker
from qkms_qkd.serving.supply import Delivered, Demand, UnavailableError

log = structlog.get_logger(__name__)

_ATTEMPTS = 6
_SITE_S = 2.0
_AVOID_S = 10.0


class _Failed(Exception):
    """An attempt failed at this link; another route may do."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class NoRouteError(UnavailableError):
    """There are fewer disjoint routes than asked for; `weakest`: what the last one that was tried lacked."""

    def __init__(self, target: str, wanted: int, found: int, weakest: Reach | None) -> None:
        down = weakest is None or not weakest.up
        why = f"; {' - '.join(weakest.weakest)} has {weakest.stored} keys" if weakest else ""
        super().__init__(
            "LINK_DOWN" if down else "STORE_EXHAUSTED",
            f"KME {target} is reached by {found} of {wanted} disjoint routes now{why}; ask again later",
        )


class Relaying:
    """What the KME of a master does."""

    def __init__(
        self, settings: Settings, network: NetworkSection, carrier: Carrier, shares: ShareStore, worker: Worker
    ) -> None:
        self._settings = settings
        self._own = settings.kme.id
        self._network = network
        self._carrier = carrier
        self._shares = shares
        self._worker = worker
        own = [(self._own, link.peer) for link in settings.links]
        self._topology = Topology(frozenset(pair) for pair in [*network.links, *own])
        self._within = self._topology.within(self._own, network.max_relays)
        self._avoided: dict[Edge, float] = {}

    def known(self, kme: str) -> bool:
        """Whether any route leads there when every link is whole."""
        return kme in self._within

    async def standing(self, kme: str) -> tuple[Route, Reach]:
        """The route that a key would take now, and how it stands. Raises UnavailableError."""
        [route, *_], [reach, *_] = await self._usable(kme, 1, 1, set())
        return route, reach

    async def draw(self, master: str, demand: Demand, disjoint_routes: int) -> Delivered:
        """Fresh keys, held for every slave at its KME. Raises UnavailableError."""
        short: set[Edge] = set()
        for _ in range(_ATTEMPTS):
            try:
                return await self._attempt(master, demand, disjoint_routes, short)
            except _Failed as error:
                log.warning("relay.attempt_failed", link=error.failure.link, reason=error.failure.reason)
                self._remember(error.failure, short)
        raise UnavailableError(
            "LINK_DOWN", f"relaying failed {_ATTEMPTS} times over different links; ask again later"
        )

    async def _attempt(self, master: str, demand: Demand, disjoint_routes: int, short: set[Edge]) -> Delivered:
        keys = [secrets.token_bytes(demand.size_bits // 8) for _ in range(demand.number)]
        parts = [Part(str(uuid.uuid4()), [], b"") for _ in keys]
        passed: set[str] = set()
        ages, fewest = [0.0], disjoint_routes
        for slave in demand.slaves:
            kme = self._settings.kme_of(slave)
            assert kme is not None
            if kme == self._own:
                whole = self._carry([kme], master, slave, demand.size_bits, 0, 1, parts)
                await self._worker.run(self._shares.put, whole, keys, self._worker.now_s())
                continue
            need = demand.number * stored_keys(demand.size_bits, self._settings.keys.size_bits)
            routes, _ = await self._usable(kme, disjoint_routes, need, short)
            carries = [
                self._carry(route, master, slave, demand.size_bits, i, len(routes), parts)
                for i, route in enumerate(routes)
            ]
            ages += await self._sent(carries, _split(keys, len(routes)))
            relaying = {relay for route in routes for relay in relays(route)}
            passed |= relaying
            fewest = min(fewest, len(routes)) if relaying else fewest
        return Delivered(
            [
                relayed(part.delivery_id, key, max(ages), passed, fewest)
                for part, key in zip(parts, keys, strict=True)
            ]
        )

    async def _sent(self, carries: Sequence[Carry], shares: Sequence[Sequence[bytes]]) -> list[float]:
        """The ages of what was carried. Raises _Failed when all have ended and one has failed."""
        answers = await asyncio.gather(*map(self._carrier.send, carries, shares))
        for answer in answers:
            if answer.failure is not None:
                raise _Failed(answer.failure)
        return [answer.age_s for answer in answers]

    def _carry(
        self,
        route: Sequence[str],
        master: str,
        slave: str,
        size_bits: int,
        share: int,
        shares: int,
        parts: list[Part],
    ) -> Carry:
        return Carry(
            route=list(route),
            master=master,
            slave=slave,
            size_bits=size_bits,
            share=share,
            shares=shares,
            age_s=0.0,
            within_s=self._within_s(route),
            parts=parts,
        )

    async def _usable(self, kme: str, wanted: int, need: int, short: set[Edge]) -> tuple[list[Route], list[Reach]]:
        """Disjoint routes whose every link has so many keys; those that have not join `short`.

        Raises NoRouteError.
        """
        weakest: Reach | None = None
        while True:
            avoiding = {*short, *self._avoiding()}
            routes = self._topology.routes(self._own, kme, wanted, self._network.max_relays, avoiding)
            if routes and not relays(routes[0]):
                routes = routes[:1]
            elif len(routes) < wanted:
                raise NoRouteError(kme, wanted, len(routes), weakest)
            reaches = await asyncio.gather(*(self._carrier.reach(r, self._within_s(r)) for r in routes))
            weak = [reach for reach in reaches if reach.stored < need]
            if not weak:
                return routes, reaches
            weakest = weak[0]
            short.update(frozenset(reach.weakest) for reach in weak)

    def _remember(self, failure: Failure, short: set[Edge]) -> None:
        link = frozenset(failure.link)
        short.add(link)
        if failure.code == "LINK_DOWN":
            self._avoided[link] = time.monotonic() + _AVOID_S

    def _avoiding(self) -> list[Edge]:
        now = time.monotonic()
        return [link for link, until in self._avoided.items() if until > now]

    def _within_s(self, route: Sequence[str]) -> float:
        return _SITE_S + 2 * HOP_S * len(route)


def _split(keys: Sequence[bytes], ways: int) -> list[list[bytes]]:
    """For each way a share of every key; all shares of a key XOR to it, and fewer say nothing about it."""
    ways_of_each = []
    for key in keys:
        noise = [secrets.token_bytes(len(key)) for _ in range(ways - 1)]
        ways_of_each.append([*noise, reduce(xor, noise, key)])
    return [list(way) for way in zip(*ways_of_each, strict=True)]
