"""Server end of the channel between KMEs. A caller must carry the identity of a configured peer.

Mutual TLS has proved the certificate; here its URI SAN selects the link, so a peer acts on its own
link only, and anybody else, though of the same CA, gets 403.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec
import structlog
from aiohttp import web

from qkms_qkd.identity import alternative_name
from qkms_qkd.kme.channel import NOT_GREETED, ChannelError, NotGreetedError, Nothing
from qkms_qkd.kme.channel_messages import Assign, Discard, Hello, Offer
from qkms_qkd.kme.delivery import Delivery
from qkms_qkd.kme.direct import Direct
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.network.carrier import Carrier
from qkms_qkd.kme.network.messages import Carry, Probe
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.settings import Settings
from qkms_qkd.serving.bodies import BodyUnreadable, decoded
from qkms_qkd.serving.supply import RefusedError, StrangerError
from qkms_qkd.serving.web import bounded_body, json_answer, no_body, peer_certificate, refusal

log = structlog.get_logger(__name__)

_Form = TypeVar("_Form", bound=msgspec.Struct)


class LinkFace:
    """What the peers of one KME may ask."""

    def __init__(
        self,
        settings: Settings,
        delivery: Delivery,
        direct: Direct,
        carrier: Carrier,
        links: Mapping[str, QuantumLink],
    ) -> None:
        self._settings = settings
        self._delivery = delivery
        self._direct = direct
        self._carrier = carrier
        self._links = {section.identity(): links[section.peer] for section in settings.links}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Registers the operations."""
        router.add_post("/link/v1/hello", self._for_peer(Hello, self._hello))
        router.add_post("/link/v1/offer", self._for_peer(Offer, self._offer))
        router.add_post("/link/v1/assign", self._for_peer(Assign, self._assign))
        router.add_post("/link/v1/carry", self._for_peer(Carry, self._carry))
        router.add_post("/link/v1/probe", self._for_peer(Probe, self._probe))
        router.add_post("/link/v1/discard", self._for_peer(Discard, self._discard))
        router.add_post("/link/v1/faults", self._for_peer(Faults, self._faults))

    def _for_peer(
        self, form: type[_Form], answer: Callable[[QuantumLink, _Form], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def for_peer(request: web.Request) -> web.Response:
            identity = alternative_name(peer_certificate(request), "URI")
            link = self._links.get(identity or "")
            if link is None:
                log.warning("link.stranger", caller=identity, path=request.path)
                return no_body(403)
            try:
                message = decoded(await bounded_body(request), form)
            except BodyUnreadable as error:
                return refusal(400, f"the request {error}")
            try:
                return await answer(link, message)
            except NotGreetedError:
                return refusal(NOT_GREETED, "hello first")
            except RefusedError as error:
                return refusal(400, str(error))
            except StrangerError:
                return no_body(403)

        return for_peer

    async def _hello(self, link: QuantumLink, hello: Hello) -> web.Response:
        if link.runs_model:
            return refusal(400, f"KME {self._settings.kme.id} runs this link and says hello itself")
        if hello.key_bits != self._settings.keys.size_bits:
            return refusal(
                400,
                f"keys.size_bits is {self._settings.keys.size_bits} at KME {self._settings.kme.id} and "
                f"{hello.key_bits} at KME {link.peer}; make them equal",
            )
        return json_answer(await link.hear_hello(hello))

    async def _offer(self, link: QuantumLink, offer: Offer) -> web.Response:
        size = self._settings.keys.size_bits
        if any(len(key.key) * 8 != size for key in offer.keys):
            return refusal(400, f"each key shall have {size} bits")
        await link.hear_offer(offer)
        return json_answer(Nothing())

    async def _assign(self, link: QuantumLink, demand: Assign) -> web.Response:
        self._delivery.check_parties(link, demand)
        return json_answer(await self._direct.hear_assign(link, demand))

    async def _carry(self, link: QuantumLink, carry: Carry) -> web.Response:
        return json_answer(await self._carrier.hear_carry(link, carry))

    async def _probe(self, link: QuantumLink, probe: Probe) -> web.Response:
        return json_answer(await self._carrier.hear_probe(link, probe))

    async def _discard(self, link: QuantumLink, message: Discard) -> web.Response:
        await link.hear_discard(message.key_ids)
        return json_answer(Nothing())

    async def _faults(self, link: QuantumLink, faults: Faults) -> web.Response:
        if not link.runs_model:
            return refusal(400, f"KME {link.peer} runs this link")
        try:
            return json_answer(await link.set_faults(faults))
        except ChannelError as error:
            return refusal(503, str(error))
