"""SKIP (draft-cisco-skip-02) as a server, strictly: GET only, paths at the root, the draft's statuses.

    GET /capabilities                      {entropy, key, algorithm, localSystemID, remoteSystemID}
    GET /key?remoteSystemID=&size=         {keyId, key}: a fresh key, held at the peer's KME for that system
    GET /key/{keyId}?remoteSystemID=       {keyId, key}: the key that system drew for the caller
    GET /entropy?minentropy=               {randomStr, minentropy}

A system id is an SAE id: the caller's certificate names the local system, as it does in ETSI GS QKD 014. Keys
come from the same `delivery`, so that a key leaves the store once for each party, by whichever protocol;
a keyId is the key's UUID as 32 hexadecimal digits. A key for somebody else is answered like one that does not
exist: the draft has 400 for both. 500 when no key can be had now, 503 for entropy, 401 without a
body for callers that are no SAE of this KME (the draft leaves that to TLS). Errors have the body of ETSI GS QKD
014; the draft defines none. Left out: TLS-PSK, which Python's ssl offers from 3.13 on only, and patterns
in remoteSystemID.
"""

import os
import re
import uuid
from collections.abc import Awaitable, Callable, Collection

import structlog
from aiohttp import web

from qkms_qkd.etsi014.messages import KEYS_NOT_FOUND
from qkms_qkd.identity import principal
from qkms_qkd.kme.delivery import Delivery, RefusedError, StrangerError, UnavailableError
from qkms_qkd.kme.queries import integer, only, own_sae
from qkms_qkd.kme.settings import Settings
from qkms_qkd.kme.web import json_answer, no_body, peer_certificate, refusal
from qkms_qkd.link import QkdKey
from qkms_qkd.skip.messages import DEFAULT_BITS, Capabilities, Entropy, Key

log = structlog.get_logger(__name__)

ALGORITHM = "QKD"
MAX_ENTROPY_BITS = 65_536
_KEY_ID = re.compile(r"[0-9a-fA-F]{32}\Z")
_Answer = Callable[[web.Request, str], Awaitable[web.Response]]


class SkipFace:
    """The four paths of the draft for the SAEs of one KME; `peers` are the KMEs that it has links to."""

    def __init__(self, settings: Settings, delivery: Delivery, peers: Collection[str]) -> None:
        self._settings = settings
        self._delivery = delivery
        self._peers = frozenset(peers)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Registers the paths."""
        router.add_get("/capabilities", self._guarded(self._capabilities), allow_head=False)
        router.add_get("/key", self._guarded(self._new_key), allow_head=False)
        router.add_get("/key/{key_id}", self._guarded(self._key), allow_head=False)
        router.add_get("/entropy", self._guarded(self._entropy), allow_head=False)

    def _guarded(self, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            caller = own_sae(request, self._settings)
            if caller is None:
                log.warning("skip.stranger", caller=principal(peer_certificate(request)), path=request.path)
                return no_body(401)
            try:
                return await answer(request, caller)
            except RefusedError as error:
                log.info("skip.refused", caller=caller, path=request.path, reason=str(error))
                return refusal(400, str(error))
            except StrangerError:
                log.warning("skip.not_named", caller=caller, path=request.path)
                return refusal(400, KEYS_NOT_FOUND)
            except UnavailableError as error:
                log.warning("skip.unavailable", caller=caller, path=request.path, reason=str(error))
                return refusal(500, str(error), [{"code": error.code}])

        return guarded

    async def _capabilities(self, _: web.Request, caller: str) -> web.Response:
        remote = [sae.id for sae in self._settings.saes if sae.kme in self._peers]
        return json_answer(Capabilities(True, True, ALGORITHM, caller, remote))

    async def _new_key(self, request: web.Request, caller: str) -> web.Response:
        only(request, frozenset({"remoteSystemID", "size"}))
        remote = _remote(request)
        size_bits = integer(request, "size")
        [key] = await self._delivery.draw(caller, remote, 1, DEFAULT_BITS if size_bits is None else size_bits)
        return _delivered("keys.drawn", key, caller, remote)

    async def _key(self, request: web.Request, caller: str) -> web.Response:
        only(request, frozenset({"remoteSystemID"}))
        remote = _remote(request)
        key_id = request.match_info["key_id"]
        if not _KEY_ID.match(key_id):
            raise RefusedError("keyId shall be 32 hexadecimal digits")
        self._delivery.link_to(caller, remote)
        [key] = await self._delivery.collect(remote, caller, [str(uuid.UUID(key_id))])
        return _delivered("keys.collected", key, remote, caller)

    async def _entropy(self, request: web.Request, _: str) -> web.Response:
        only(request, frozenset({"minentropy"}))
        asked = integer(request, "minentropy")
        bits = DEFAULT_BITS if asked is None else asked
        if bits < 1:
            raise RefusedError("minentropy shall be a positive number of bits")
        if bits > MAX_ENTROPY_BITS:
            return refusal(503, f"at most {MAX_ENTROPY_BITS} bits of entropy are given at once")
        return json_answer(Entropy(os.urandom(-(-bits // 8)).hex(), bits))


def _remote(request: web.Request) -> str:
    remote = request.query.get("remoteSystemID")
    if not remote:
        raise RefusedError("remoteSystemID is required")
    return remote


def _delivered(event: str, key: QkdKey, master: str, slave: str) -> web.Response:
    log.info(event, protocol="skip", master=master, slave=slave, key_ids=[key.key_id])
    return json_answer(Key(uuid.UUID(key.key_id).hex, key.key.hex()))
