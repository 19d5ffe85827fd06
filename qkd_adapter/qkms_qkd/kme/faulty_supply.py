"""What SAEs get from a KME with faults: a layer around its supply, and around the answers of its faces.

A lie is told in the form of the truth: a wrong key has the right length and key_ID, an empty store the answer of
one that was drawn empty, a key that is delivered again looks new. Keys to be delivered again are kept in memory,
until the first call after that fault. Left out: the wrong clock, which the KME itself goes by (see
`fault_switches`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Middleware

from qkms_qkd.identity import PeerCertificate
from qkms_qkd.kme.fault_switches import FaultSwitches
from qkms_qkd.kme.faults import KmeFaults
from qkms_qkd.link import QkdKey
from qkms_qkd.serving.supply import Caller, Delivered, Demand, Standing, Supply, Terms, UnavailableError

_Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FaultySupply:
    """The `Supply` of one KME as its faults leave it; each method as that of `Supply`."""

    def __init__(self, sound: Supply, switches: FaultSwitches) -> None:
        self._sound = sound
        self._switches = switches
        self._drawn: dict[tuple[str, tuple[str, ...], int, int], Delivered] = {}
        self._collected: dict[tuple[str, str, tuple[str, ...]], Delivered] = {}

    @property
    def terms(self) -> Terms:
        """The same for every pair."""
        return self._sound.terms

    def caller(self, certificate: PeerCertificate) -> Caller | None:
        """Who asks is always told truly."""
        return self._sound.caller(certificate)

    def remotes(self, caller: Caller) -> list[str]:
        """The SAEs that the caller may share keys with."""
        return self._sound.remotes(caller)

    def entropy(self, caller: Caller, size_bytes: int) -> bytes:
        """So many random bytes, whatever the faults."""
        return self._sound.entropy(caller, size_bytes)

    async def standing(self, caller: Caller, slave: str) -> Standing:
        """With nothing in store if exhausted."""
        standing = await self._sound.standing(caller, slave)
        return replace(standing, stored=0) if self._switches.faults.exhausted else standing

    async def draw(self, caller: Caller, demand: Demand) -> Delivered:
        """None if exhausted, and no stored key is touched; those of before if they are delivered again."""
        faults = self._faults()
        if faults.exhausted:
            # What is refused for itself is refused so here too.
            standings = [await self._sound.standing(caller, slave) for slave in demand.slaves]
            raise UnavailableError(
                "STORE_EXHAUSTED",
                f"the store for KME {standings[0].target_kme} is exhausted: no stored key is free; "
                "ask again later",
            )
        asked = caller.sae, demand.slaves, demand.number, demand.size_bits
        if asked in self._drawn:
            return self._drawn[asked]
        delivered = await self._sound.draw(caller, demand)
        if faults.redeliver:
            self._drawn[asked] = delivered
        return delivered

    async def collect(self, caller: Caller, master: str, key_ids: Sequence[str]) -> Delivered:
        """Altered keys if they are to be wrong; the same once more if they are delivered again."""
        faults = self._faults()
        asked = caller.sae, master, tuple(key_ids)
        delivered = self._collected.get(asked) or await self._sound.collect(caller, master, key_ids)
        if faults.redeliver:
            self._collected[asked] = delivered
        if not faults.wrong_key:
            return delivered
        return replace(delivered, keys=[replace(each, key=_altered(each.key)) for each in delivered.keys])

    def _faults(self) -> KmeFaults:
        """Those of now; what was kept is forgotten once nothing is to be delivered again."""
        faults = self._switches.faults
        if not faults.redeliver:
            self._drawn.clear()
            self._collected.clear()
        return faults


def slow_answers(switches: FaultSwitches) -> Middleware:
    """Holds every answer back but those of the admin API, by which it is ended."""

    @web.middleware
    async def slow(request: web.Request, handler: _Respond) -> web.StreamResponse:
        answer = await handler(request)
        if not request.path.startswith("/admin/"):
            await asyncio.sleep(switches.faults.slow_s)
        return answer

    return slow


def _altered(key: QkdKey) -> QkdKey:
    """One bit of it: the least that two ends can differ by."""
    return replace(key, key=bytes([key.key[0] ^ 1]) + key.key[1:])
