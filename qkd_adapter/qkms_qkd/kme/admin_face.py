"""Admin API on the SAE listener: see links and faults, put faults on them and on the KME. Only for principals in
`kme.admins`.

    GET /admin/v1/links                  {"links": [link, ...], "kme_faults": KmeFaults}
    PUT /admin/v1/links/{peer}/faults    body: Faults; a field left out is absent; answers the link
    GET /admin/v1/faults                 KmeFaults: those of the KME as a whole
    PUT /admin/v1/faults                 body: KmeFaults; a field left out is absent; answers them

Everybody else gets 403, whatever the path. Left out: changing settings.
"""

from collections.abc import Mapping

import structlog
from aiohttp import web
from msgspec.structs import asdict

from qkms_qkd.identity import principal
from qkms_qkd.kme.channel import ChannelError, NotGreetedError
from qkms_qkd.kme.direct import Direct
from qkms_qkd.kme.fault_switches import FaultSwitches
from qkms_qkd.kme.faults import Faults, KmeFaults
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.settings import Settings
from qkms_qkd.serving.admission import Handler
from qkms_qkd.serving.bodies import BodyUnreadable, decoded
from qkms_qkd.serving.web import bounded_body, json_answer, peer_certificate, refusal

log = structlog.get_logger(__name__)


class AdminFace:
    """The admin API of one KME."""

    def __init__(
        self, settings: Settings, direct: Direct, links: Mapping[str, QuantumLink], switches: FaultSwitches
    ) -> None:
        self._settings = settings
        self._direct = direct
        self._links = links
        self._switches = switches

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Registers the methods."""
        router.add_get("/admin/v1/links", self._guarded(self._list), allow_head=False)
        router.add_put("/admin/v1/links/{peer}/faults", self._guarded(self._set_link_faults))
        router.add_get("/admin/v1/faults", self._guarded(self._faults), allow_head=False)
        router.add_put("/admin/v1/faults", self._guarded(self._set_faults))

    def _guarded(self, answer: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            caller = principal(peer_certificate(request))
            if caller in self._settings.kme.admins:
                return await answer(request)
            log.warning("admin.stranger", caller=caller, path=request.path)
            return refusal(403, "the caller is not an administrator of this KME (kme.admins)")

        return guarded

    async def _list(self, _: web.Request) -> web.Response:
        links = [await self._described(link) for link in self._links.values()]
        return json_answer({"links": links, "kme_faults": self._switches.faults})

    async def _faults(self, _: web.Request) -> web.Response:
        return json_answer(self._switches.faults)

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            faults = decoded(await bounded_body(request), KmeFaults)
        except BodyUnreadable as error:
            return refusal(400, f"faults: the request {error}")
        await self._switches.set(faults)
        log.warning("admin.kme_faults_set", principal=principal(peer_certificate(request)), **asdict(faults))
        return json_answer(faults)

    async def _set_link_faults(self, request: web.Request) -> web.Response:
        link = self._links.get(request.match_info["peer"])
        if link is None:
            return refusal(404, f"KME {self._settings.kme.id} has no link to {request.match_info['peer'][:128]}")
        try:
            faults = decoded(await bounded_body(request), Faults)
        except BodyUnreadable as error:
            return refusal(400, f"faults: the request {error}")
        try:
            await link.set_faults(faults)
        except (ChannelError, NotGreetedError) as error:
            return refusal(503, f"KME {link.peer} runs this link and does not answer ({error}); ask again")
        log.warning("admin.faults_set", peer=link.peer, principal=principal(peer_certificate(request)))
        return json_answer(await self._described(link))

    async def _described(self, link: QuantumLink) -> dict[str, object]:
        state = link.state()
        report = state.report
        section = next(section for section in self._settings.links if section.peer == link.peer)
        return {
            "peer": link.peer,
            "length_km": section.length_km,
            "pulse_rate_hz": section.pulse_rate_hz,
            "runs_model": state.running_end,
            "link_state": "up" if state.up else "down",
            "qber": report.qber if report and state.up else None,
            "skr_bps": report.skr_bps if report and state.up else 0.0,
            "discarded_blocks": report.discarded_blocks if report else 0,
            "stored_key_count": await self._direct.stored(link),
            "max_key_count": self._settings.keys.max_stored,
            "faults": report.faults if report else None,
        }
