"""SKIP (draft-cisco-skip-02) as a server, strictly: GET only, paths at the root, the draft's statuses.

    GET /capabilities                      {entropy, key, algorithm, localSystemID, remoteSystemID}
    GET /key?remoteSystemID=&size=         {keyId, key}: a fresh key, held at the peer's KME for that system
    GET /key/{keyId}?remoteSystemID=       {keyId, key}: the key that system drew for the caller
    GET /entropy?minentropy=               {randomStr, minentropy}

A system id is an SAE id: the caller's certificate names the local system, as it does in ETSI GS QKD 014. Keys
come from the same `Supply`, so that a key leaves the store once for each party, by whichever protocol;
a keyId is the key's UUID as 32 hexadecimal digits. A key for somebody else is answered like one that does not
exist: the draft has 400 for both. 500 when no key can be had now, 503 for entropy, 401 without a
body for callers that are no SAE of the supply (the draft leaves that to TLS). Errors have the body of ETSI GS QKD
014; the draft defines none. Left out: TLS-PSK, which Python's ssl offers from 3.13 on only, and patterns
in remoteSystemID.
"""

import re
import uuid

import structlog
from aiohttp import web

from qkms_qkd.etsi014.messages import KEYS_NOT_FOUND
from qkms_qkd.link import QkdKey
from qkms_qkd.serving.admission import Admission
from qkms_qkd.serving.queries import integer, only
from qkms_qkd.serving.supply import Caller, Demand, RefusedError, Supply
from qkms_qkd.serving.web import answered, json_answer, refusal
from qkms_qkd.skip.messages import DEFAULT_BITS, Capabilities, Entropy, Key

log = structlog.get_logger(__name__)

MAX_ENTROPY_BITS = 65_536
_KEY_ID = re.compile(r"[0-9a-fA-F]{32}\Z")


class SkipFace:
    """The four paths of the draft for the SAEs of one supply."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._admission = Admission(
            supply, "skip", not_named=lambda: refusal(400, KEYS_NOT_FOUND), unavailable=500
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Registers the paths."""
        router.add_get("/capabilities", self._admission.guarded(self._capabilities), allow_head=False)
        router.add_get("/key", self._admission.guarded(self._new_key), allow_head=False)
        router.add_get("/key/{key_id}", self._admission.guarded(self._key), allow_head=False)
        router.add_get("/entropy", self._admission.guarded(self._entropy), allow_head=False)

    async def _capabilities(self, _: web.Request, caller: Caller) -> web.Response:
        remotes = self._supply.remotes(caller)
        return json_answer(Capabilities(True, True, self._supply.terms.algorithm, caller.sae, remotes))

    async def _new_key(self, request: web.Request, caller: Caller) -> web.Response:
        only(request, frozenset({"remoteSystemID", "size"}))
        remote = _remote(request)
        asked = integer(request, "size")
        size_bits = DEFAULT_BITS if asked is None else asked
        self._supply.terms.check(1, size_bits)
        [supplied] = (await self._supply.draw(caller, Demand((remote,), 1, size_bits, names_relays=False))).keys
        return _delivered("keys.drawn", supplied.key, caller.sae, remote)

    async def _key(self, request: web.Request, caller: Caller) -> web.Response:
        only(request, frozenset({"remoteSystemID"}))
        remote = _remote(request)
        key_id = request.match_info["key_id"]
        if not _KEY_ID.match(key_id):
            raise RefusedError("keyId shall be 32 hexadecimal digits")
        [supplied] = (await self._supply.collect(caller, remote, [str(uuid.UUID(key_id))])).keys
        return _delivered("keys.collected", supplied.key, remote, caller.sae)

    async def _entropy(self, request: web.Request, caller: Caller) -> web.Response:
        only(request, frozenset({"minentropy"}))
        asked = integer(request, "minentropy")
        bits = DEFAULT_BITS if asked is None else asked
        if bits < 1:
            raise RefusedError("minentropy shall be a positive number of bits")
        if bits > MAX_ENTROPY_BITS:
            return answered(
                refusal(503, f"at most {MAX_ENTROPY_BITS} bits of entropy are given at once"), "ENTROPY_TOO_LARGE"
            )
        return json_answer(Entropy(self._supply.entropy(caller, -(-bits // 8)).hex(), bits))


def _remote(request: web.Request) -> str:
    remote = request.query.get("remoteSystemID")
    if not remote:
        raise RefusedError("remoteSystemID is required")
    return remote


def _delivered(event: str, key: QkdKey, master: str, slave: str) -> web.Response:
    log.info(event, protocol="skip", master=master, slave=slave, key_ids=[key.key_id])
    return json_answer(Key(uuid.UUID(key.key_id).hex, key.key.hex()))
