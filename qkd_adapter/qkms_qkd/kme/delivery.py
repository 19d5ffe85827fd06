"""Keys for SAEs: draw as master, collect as slave, each with the checks of ETSI GS QKD 014.

One slave whose KME a link joins is served from that link. Several, or one that no link can serve now, get
keys that are relayed, if there is a [network]. Knows nothing of HTTP; errors say which answer of the
standard they are.

Vendor extensions: `status_extension` {qber, skr_bps, link_state, relays}; of keys see `provenance`. In
`extension_mandatory`, {"route_type": "direct"} refuses relayed keys, and {"disjoint_routes": n} those that fewer
than n relays could learn together.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from qkms_qkd.identity import PeerCertificate, principal, sae_id
from qkms_qkd.kme.channel_messages import Assign
from qkms_qkd.kme.direct import Direct
from qkms_qkd.kme.pool import KeyNotFoundError
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.waiting import NotNamedError, Waiting
from qkms_qkd.kme.worker import Worker
from qkms_qkd.serving.supply import (
    Caller,
    Delivered,
    Demand,
    ExtensionNotMetError,
    KeysNotFoundError,
    RefusedError,
    Standing,
    StrangerError,
    Terms,
    UnavailableError,
)

if TYPE_CHECKING:
    from qkms_qkd.kme.network.relaying import Relaying

log = structlog.get_logger(__name__)


class Delivery:
    """The `Supply` of one KME."""

    def __init__(
        self,
        settings: Settings,
        worker: Worker,
        links: Mapping[str, QuantumLink],
        direct: Direct,
        relaying: "Relaying | None",
        waiting: Waiting,
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._links = links
        self._direct = direct
        self._relaying = relaying
        self._waiting = waiting
        keys, network = settings.keys, settings.network
        self.terms = Terms(
            keys.size_bits,
            keys.min_size_bits,
            keys.max_size_bits,
            keys.max_stored,
            keys.max_per_request,
            network.max_additional if network else 0,
            frozenset({"route_type", "disjoint_routes"} if network else ()),
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

    def entropy(self, caller: Caller, size_bytes: int) -> bytes:
        """From the operating system."""
        return os.urandom(size_bytes)

    async def standing(self, caller: Caller, slave: str) -> Standing:
        """How the way to the slave's KME stands that a key would take now. Raises RefusedError."""
        kme = self._kme_of(caller.sae, slave)
        if kme == self._settings.kme.id:
            return Standing(kme, kme, self.terms.max_stored)
        link = self._links.get(kme)
        stored = await self._direct.stored(link) if link else 0
        if self._relaying is None or (link and (stored or link.state().up)):
            return Standing(self._settings.kme.id, kme, stored, _extension(link))
        try:
            route, reach = await self._relaying.standing(kme)
        except UnavailableError:
            return Standing(self._settings.kme.id, kme, stored, _extension(link))
        extension = {
            "qber": reach.qber,
            "skr_bps": reach.skr_bps,
            "link_state": "up" if reach.up else "down",
            "relays": list(route[1:-1]),
        }
        return Standing(self._settings.kme.id, kme, reach.stored, extension)

    async def draw(self, caller: Caller, demand: Demand) -> Delivered:
        """Fresh keys for the caller, held for every slave. Raises RefusedError, UnavailableError."""
        kmes = [self._kme_of(caller.sae, slave) for slave in demand.slaves]
        if len(set(demand.slaves)) < len(kmes):
            raise RefusedError("a slave SAE shall be named once")
        relaying, disjoint_routes = self._relaying_for(demand)
        link = self._links.get(kmes[0]) if len(kmes) == 1 else None
        if link is not None:
            try:
                return await self._direct.draw(link, caller.sae, demand.slaves[0], demand.number, demand.size_bits)
            except UnavailableError as error:
                if relaying is None:
                    raise
                log.info("draw.goes_round", peer=link.peer, reason=str(error))
        if relaying is None:
            raise ExtensionNotMetError if demand.mandatory else _no_link(self._settings.kme.id, kmes[0])
        return await relaying.draw(caller.sae, demand, disjoint_routes)

    async def collect(self, caller: Caller, master: str, key_ids: Sequence[str]) -> Delivered:
        """The keys of these ids that `master` drew for the caller. Raises RefusedError, StrangerError."""
        self._kme_of(caller.sae, master)
        try:
            return Delivered(
                await self._worker.run(self._waiting.collect, master, caller.sae, key_ids, self._worker.now_s())
            )
        except KeyNotFoundError:
            raise KeysNotFoundError from None
        except NotNamedError:
            raise StrangerError from None

    def check_parties(self, link: QuantumLink, demand: Assign) -> None:
        """Raises StrangerError if the SAEs that a peer drew keys for are not the peer's and ours."""
        kme_of = self._settings.kme_of
        if kme_of(demand.master) != link.peer or kme_of(demand.slave) != self._settings.kme.id:
            raise StrangerError

    async def expire(self) -> None:
        """Deletes keys that nobody collected in time."""
        before_s = self._worker.now_s() - self._settings.keys.max_uncollected_s
        if expired := await self._worker.run(self._waiting.expire, before_s):
            log.warning("keys.expired", count=expired)

    def _kme_of(self, caller: str, other: str) -> str:
        """The KME of another SAE, if there is any way to it. Raises RefusedError."""
        own = self._settings.kme.id
        if other == caller:
            raise RefusedError("master and slave SAE shall differ")
        kme = self._settings.kme_of(other)
        if kme is None:
            raise RefusedError(f"SAE {other} is not known to KME {own}")
        if kme in self._links or (self._relaying and (kme == own or self._relaying.known(kme))):
            return kme
        raise _no_link(own, kme)

    def _relaying_for(self, demand: Demand) -> "tuple[Relaying | None, int]":
        """What may relay these keys, and over how many routes. Raises ExtensionNotMetError for what is neither."""
        route_type = demand.mandatory.get("route_type", "any")
        asked = demand.mandatory.get("disjoint_routes", 1)
        if route_type not in ("any", "direct") or type(asked) is not int or asked < 1:
            raise ExtensionNotMetError
        network = self._settings.network
        if network is None or route_type == "direct" or not demand.names_relays:
            return None, 0
        return self._relaying, max(network.disjoint_routes, asked)


def _no_link(own: str, kme: str) -> RefusedError:
    return RefusedError(
        f"no link joins KME {own} to KME {kme}, and keys of several links are not for this request"
    )


def _extension(link: QuantumLink | None) -> dict[str, object]:
    state = link.state() if link else None
    measured = state.report if state and state.up else None
    return {
        "qber": measured.qber if measured else None,
        "skr_bps": measured.skr_bps if measured else 0.0,
        "link_state": "up" if state and state.up else "down",
    }
