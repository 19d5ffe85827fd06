"""SessionService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.kem import MLKEM_CIPHERTEXT_BYTES, MLKEM_PUBLIC_BYTES, X25519_BYTES
from qkms.session import NONCE_BYTES, SUITE, TAG_BYTES
from qkms.v1 import session_pb2 as pb
from qkms.v1 import session_pb2_grpc
from qkms_node.errors import InvalidField
from qkms_node.ledger.records import AnswerRecord, OfferRecord
from qkms_node.rpc import fields, messages
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.service.freshness import LINEARIZABLE
from qkms_node.service.sessions import Sessions

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_TTL_MS = 3600 * 1000
MAX_TTL_MS = 24 * 3600 * 1000
MAX_PRINCIPAL = 256


class SessionServicer(session_pb2_grpc.SessionServiceServicer):
    """Serves qkms.v1.SessionService."""

    def __init__(self, sessions: Sessions, headers: Headers) -> None:
        self._sessions = sessions
        self._headers = headers

    async def OpenSession(self, request: pb.OpenSessionRequest, context: Context) -> pb.OpenSessionResponse:
        if request.suite != SUITE:
            raise InvalidField("suite", "is missing or unknown; MLKEM768_X25519_SHA256 is there")
        if not 1 <= len(request.responder) <= MAX_PRINCIPAL or request.responder == caller.get():
            raise InvalidField("responder", "must be another principal, of 1 to 256 characters")
        ttl_ms = DEFAULT_TTL_MS
        if request.HasField("ttl"):
            ttl_ms = fields.milliseconds("ttl", request.ttl, 1_000, MAX_TTL_MS)
        outcome = await self._sessions.open(
            mutation_request(request, request.request_id),
            fields.session_id(request.session_id),
            request.responder,
            request.suite,
            _offer(request.offer),
            fields.grade("required_grade", request.required_grade),
            ttl_ms,
        )
        assert outcome.session is not None
        return pb.OpenSessionResponse(
            header=self._headers.make(),
            session=messages.session(outcome.session),
            replayed=outcome.replayed,
        )

    async def JoinSession(self, request: pb.JoinSessionRequest, context: Context) -> pb.JoinSessionResponse:
        session_id = fields.session_name("name", request.name)
        if not request.HasField("answer"):
            wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
            session, psk = await self._sessions.read(caller.get(), session_id, wanted)
            return pb.JoinSessionResponse(
                header=self._headers.make(wanted), session=messages.session(session), psk=psk
            )
        identity = mutation_request(request, request.request_id)
        outcome, session, psk = await self._sessions.answer(identity, session_id, _answer(request.answer))
        return pb.JoinSessionResponse(
            header=self._headers.make(),
            session=messages.session(session),
            psk=psk,
            replayed=outcome.replayed,
        )

    async def ConfirmSession(
        self, request: pb.ConfirmSessionRequest, context: Context
    ) -> pb.ConfirmSessionResponse:
        tag = fields.sized("tag", request.tag, TAG_BYTES)
        identity = mutation_request(request, request.request_id)
        outcome = await self._sessions.confirm(identity, fields.session_name("name", request.name), tag)
        assert outcome.session is not None
        return pb.ConfirmSessionResponse(
            header=self._headers.make(),
            session=messages.session(outcome.session),
            replayed=outcome.replayed,
        )

    async def CloseSession(self, request: pb.CloseSessionRequest, context: Context) -> pb.CloseSessionResponse:
        identity = mutation_request(request, request.request_id)
        outcome = await self._sessions.close(identity, fields.session_name("name", request.name))
        assert outcome.session is not None
        return pb.CloseSessionResponse(
            header=self._headers.make(),
            session=messages.session(outcome.session),
            replayed=outcome.replayed,
        )

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        session_id = fields.session_name("name", request.name)
        session = await self._sessions.get(caller.get(), session_id, wanted)
        return pb.GetSessionResponse(header=self._headers.make(wanted), session=messages.session(session))


def _offer(offer: pb.SessionOffer) -> OfferRecord:
    return OfferRecord(
        fields.sized("offer.mlkem_public_key", offer.mlkem_public_key, MLKEM_PUBLIC_BYTES),
        fields.sized("offer.x25519_public_key", offer.x25519_public_key, X25519_BYTES),
        fields.sized("offer.nonce", offer.nonce, NONCE_BYTES),
    )


def _answer(answer: pb.SessionAnswer) -> AnswerRecord:
    return AnswerRecord(
        fields.sized("answer.mlkem_ciphertext", answer.mlkem_ciphertext, MLKEM_CIPHERTEXT_BYTES),
        fields.sized("answer.x25519_public_key", answer.x25519_public_key, X25519_BYTES),
        fields.sized("answer.nonce", answer.nonce, NONCE_BYTES),
    )
