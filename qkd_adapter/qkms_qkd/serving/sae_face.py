"""ETSI GS QKD 014 v1.1.1 as a server, strictly: methods, parameters, messages and statuses of the standard.

Keys come from a `Supply`. 400 and 503 carry message and details (503 also our stable code in details), 401 has no
body. Which vendor extensions there are, all optional to read, how many additional slave SAEs and which mandatory
extensions, the supply says.
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
from qkms_qkd.serving.admission import Admission, Handler
from qkms_qkd.serving.bodies import BodyUnreadable, decoded
from qkms_qkd.serving.queries import integer, only
from qkms_qkd.serving.supply import (
    Caller,
    Delivered,
    Demand,
    RefusedError,
    Supplied,
    Supply,
)
from qkms_qkd.serving.web import (
    bounded_body,
    json_answer,
    no_body,
)

log = structlog.get_logger(__name__)

_Form = TypeVar("_Form", bound=msgspec.Struct)
_USE_POST = "; use POST"
_Answer = Callable[[web.Request, Caller, str], Awaitable[web.Response]]


class SaeFace:
    """The three methods of clause 5 for the SAEs of one supply."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._admission = Admission(supply, "sae", not_named=lambda: no_body(401), unavailable=503)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Registers the methods."""
        base = "/api/v1/keys/{sae}"
        router.add_get(f"{base}/status", self._guarded(self._status), allow_head=False)
        router.add_get(f"{base}/enc_keys", self._guarded(self._enc_keys), allow_head=False)
        router.add_post(f"{base}/enc_keys", self._guarded(self._enc_keys))
        router.add_get(f"{base}/dec_keys", self._guarded(self._dec_keys), allow_head=False)
        router.add_post(f"{base}/dec_keys", self._guarded(self._dec_keys))

    def _guarded(self, answer: _Answer) -> Handler:
        return self._admission.guarded(lambda request, caller: answer(request, caller, request.match_info["sae"]))

    async def _status(self, request: web.Request, caller: Caller, slave: str) -> web.Response:
        only(request, frozenset(), _USE_POST)
        standing = await self._supply.standing(caller, slave)
        terms = self._supply.terms
        return json_answer(
            Status(
                source_KME_ID=standing.source_kme,
                target_KME_ID=standing.target_kme,
                master_SAE_ID=caller.sae,
                slave_SAE_ID=slave,
                key_size=terms.size_bits,
                stored_key_count=standing.stored,
                max_key_count=terms.max_stored,
                max_key_per_request=terms.max_per_request,
                max_key_size=terms.max_size_bits,
                min_key_size=terms.min_size_bits,
                max_SAE_ID_count=terms.additional,
                status_extension=standing.extension,
            )
        )

    async def _enc_keys(self, request: web.Request, caller: Caller, slave: str) -> web.Response:
        asked = _demand_from_query(request) if request.method == "GET" else await _demand_from_body(request)
        delivered = await self._supply.draw(caller, self._demand(asked, slave))
        return _container("keys.drawn", delivered, caller.sae, slave)

    def _demand(self, asked: KeyRequest, slave: str) -> Demand:
        terms = self._supply.terms
        mandatory = [parameter for part in asked.extension_mandatory for parameter in part.items()]
        if {name for name, _ in mandatory} - terms.extensions:
            raise RefusedError(EXTENSION_NOT_SUPPORTED)
        if len(asked.additional_slave_SAE_IDs) > terms.additional:
            raise RefusedError(
                f"additional_slave_SAE_IDs shall name at most {terms.additional} SAEs (max_SAE_ID_count)"
            )
        size_bits = terms.size_bits if asked.size is None else asked.size
        terms.check(asked.number, size_bits)
        slaves = (slave, *asked.additional_slave_SAE_IDs)
        return Demand(slaves, asked.number, size_bits, dict(mandatory))

    async def _dec_keys(self, request: web.Request, caller: Caller, master: str) -> web.Response:
        asked = _key_ids_from_query(request) if request.method == "GET" else await _key_ids_from_body(request)
        key_ids = [_uuid(key.key_ID) for key in asked.key_IDs]
        self._supply.terms.check_ids(key_ids)
        return _container(
            "keys.collected", await self._supply.collect(caller, master, key_ids), master, caller.sae
        )


def _container(event: str, delivered: Delivered, master: str, slave: str) -> web.Response:
    log.info(event, master=master, slave=slave, key_ids=[supplied.key.key_id for supplied in delivered.keys])
    return json_answer(KeyContainer([_key(supplied) for supplied in delivered.keys], delivered.extension))


def _key(supplied: Supplied) -> Key:
    encoded = base64.b64encode(supplied.key.key).decode()
    return Key(supplied.key.key_id, encoded, key_extension=supplied.extension)


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
