"""ETSI GS QKD 014 v1.1.1 as a server, strictly: methods, parameters, messages and statuses of the standard.

The caller's SAE id comes from its certificate. 400 and 503 carry message and details (503 also our
stable code in details), 401 has no body. Vendor extensions, all optional to read: `status_extension` {qber,
skr_bps, link_state} and `key_extension` {age_s}. Left out: additional slave SAEs (max_SAE_ID_count is 0)
and mandatory extensions (none is supported).
"""

import base64
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog
from aiohttp import web

from qkms_qkd.etsi014.messages import (
    EXTENSION_NOT_SUPPORTED,
    Key,
    KeyContainer,
    KeyId,
    KeyIds,
    KeyRequest,
    Status,
)
from qkms_qkd.identity import principal
from qkms_qkd.kme.bodies import BodyUnreadable, decoded
from qkms_qkd.kme.delivery import Delivery, RefusedError, StrangerError, UnavailableError
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.queries import integer, only, own_sae
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.web import bounded_body, json_answer, no_body, peer_certificate, refusal
from qkms_qkd.link import QkdKey

log = structlog.get_logger(__name__)

_Form = TypeVar("_Form", bound=msgspec.Struct)
_USE_POST = "; use POST"
_Answer = Callable[[web.Request, str, str], Awaitable[web.Response]]


class SaeFace:
    """The three methods of clause 5 for the SAEs of one KME."""

    def __init__(self, settings: Settings, delivery: Delivery) -> None:
        self._settings = settings
        self._delivery = delivery

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Registers the methods."""
        base = "/api/v1/keys/{sae}"
        router.add_get(f"{base}/status", self._guarded(self._status), allow_head=False)
        router.add_get(f"{base}/enc_keys", self._guarded(self._enc_keys), allow_head=False)
        router.add_post(f"{base}/enc_keys", self._guarded(self._enc_keys))
        router.add_get(f"{base}/dec_keys", self._guarded(self._dec_keys), allow_head=False)
        router.add_post(f"{base}/dec_keys", self._guarded(self._dec_keys))

    def _guarded(self, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            caller = own_sae(request, self._settings)
            if caller is None:
                log.warning("sae.stranger", caller=principal(peer_certificate(request)), path=request.path)
                return no_body(401)
            try:
                return await answer(request, caller, request.match_info["sae"])
            except RefusedError as error:
                log.info("sae.refused", caller=caller, path=request.path, reason=str(error))
                return refusal(400, str(error))
            except StrangerError:
                log.warning("sae.not_named", caller=caller, path=request.path)
                return no_body(401)
            except UnavailableError as error:
                log.warning("sae.unavailable", caller=caller, path=request.path, reason=str(error))
                return refusal(503, str(error), [{"code": error.code}])

        return guarded

    async def _status(self, request: web.Request, caller: str, slave: str) -> web.Response:
        only(request, frozenset(), _USE_POST)
        link = self._delivery.link_to(caller, slave)
        keys = self._settings.keys
        return json_answer(
            Status(
                source_KME_ID=self._settings.kme.id,
                target_KME_ID=link.peer,
                master_SAE_ID=caller,
                slave_SAE_ID=slave,
                key_size=keys.size_bits,
                stored_key_count=await self._delivery.stored(link),
                max_key_count=keys.max_stored,
                max_key_per_request=keys.max_per_request,
                max_key_size=keys.max_size_bits,
                min_key_size=keys.min_size_bits,
                max_SAE_ID_count=0,
                status_extension=_extension(link),
            )
        )

    async def _enc_keys(self, request: web.Request, caller: str, slave: str) -> web.Response:
        demand = _demand_from_query(request) if request.method == "GET" else await _demand_from_body(request)
        if demand.extension_mandatory:
            raise RefusedError(EXTENSION_NOT_SUPPORTED)
        if demand.additional_slave_SAE_IDs:
            raise RefusedError("additional_slave_SAE_IDs is not supported (max_SAE_ID_count is 0)")
        size_bits = self._settings.keys.size_bits if demand.size is None else demand.size
        keys = await self._delivery.draw(caller, slave, demand.number, size_bits)
        return _container("keys.drawn", keys, caller, slave)

    async def _dec_keys(self, request: web.Request, caller: str, master: str) -> web.Response:
        asked = _key_ids_from_query(request) if request.method == "GET" else await _key_ids_from_body(request)
        self._delivery.link_to(caller, master)
        keys = await self._delivery.collect(master, caller, [_uuid(key.key_ID) for key in asked.key_IDs])
        return _container("keys.collected", keys, master, caller)


def _container(event: str, keys: list[QkdKey], master: str, slave: str) -> web.Response:
    log.info(event, master=master, slave=slave, key_ids=[key.key_id for key in keys])
    return json_answer(
        KeyContainer(
            [
                Key(
                    key.key_id,
                    base64.b64encode(key.key).decode(),
                    key_extension={"age_s": round(key.age_s or 0.0, 3)},
                )
                for key in keys
            ]
        )
    )


def _extension(link: QuantumLink) -> dict[str, object]:
    state = link.state()
    measured = state.report if state.up else None
    return {
        "qber": measured.qber if measured else None,
        "skr_bps": measured.skr_bps if measured else 0.0,
        "link_state": "up" if state.up else "down",
    }


def _demand_from_query(request: web.Request) -> KeyRequest:
    only(request, frozenset({"number", "size"}), _USE_POST)
    size = integer(request, "size")
    number = integer(request, "number")
    return KeyRequest(number=1 if number is None else number, size=size)


async def _demand_from_body(request: web.Request) -> KeyRequest:
    only(request, frozenset(), _USE_POST)
    return _decoded(await bounded_body(request), KeyRequest)


def _key_ids_from_query(request: web.Request) -> KeyIds:
    only(request, frozenset({"key_ID"}), _USE_POST)
    key_id = request.query.get("key_ID")
    if key_id is None:
        raise RefusedError("key_ID is required; use POST for several keys")
    return KeyIds([KeyId(key_id)])


async def _key_ids_from_body(request: web.Request) -> KeyIds:
    only(request, frozenset(), _USE_POST)
    return _decoded(await bounded_body(request), KeyIds)


def _decoded(body: bytes, form: type[_Form]) -> _Form:
    try:
        return decoded(body, form)
    except BodyUnreadable as error:
        raise RefusedError(f"the request {error}") from None


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise RefusedError("each key_ID shall be a UUID") from None
