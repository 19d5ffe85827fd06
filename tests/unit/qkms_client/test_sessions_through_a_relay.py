"""Both ends of a session, played against each other through a relay that the test controls, honest or not.

The relay is what the cluster is in a session: it passes public values on and
gives both ends a psk. Whatever it alters must never end in a session. Nothing
here does IO: the two flows take turns, and the test plays the clock.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message

from qkms.kem import HybridPrivateKey
from qkms.v1 import common_pb2
from qkms.v1 import session_pb2 as pb
from qkms_client import EstablishedSession, Grade, PendingSession
from qkms_client import errors as e
from qkms_client.call import Rules
from qkms_client.flow import Event, Flow, Pause, Send
from qkms_client.flows.sessions import join_session, open_session
from qkms_client.routing import Router
from qkms_client.tokens import RevisionToken

PAYMENTS, LEDGER = "spiffe://qkms.dev/service/payments", "spiffe://qkms.dev/service/ledger"
Alter = Callable[[pb.Session, str], None]


def honest(_session: pb.Session, _caller: str) -> None:
    """Alters nothing."""


@dataclass
class Relay:
    """One session. `alter` changes what a caller is shown; `psks` are what each caller gets."""

    alter: Alter = honest
    psks: tuple[bytes, bytes] = (bytes(32), bytes(32))
    lost_answers: int = 0
    grade: Grade = Grade.QKD_PQC
    session: pb.Session | None = None
    served: int = 0

    def serve(self, caller: str, request: Message) -> Message:
        """The answer to `caller`. Raises QkmsError as a client would see it."""
        head = common_pb2.ResponseHeader(revision=1)
        match request:
            case pb.OpenSessionRequest():
                answer: Message = pb.OpenSessionResponse(header=head, session=self._open(caller, request))
            case pb.JoinSessionRequest():
                session = self._join(caller, request)
                psk = self.psks[caller == session.responder] if session.HasField("answer") else b""
                answer = pb.JoinSessionResponse(header=head, session=self._shown(caller), psk=psk)
            case pb.ConfirmSessionRequest():
                self._confirm(caller, request)
                answer = pb.ConfirmSessionResponse(header=head, session=self._shown(caller))
            case _:
                raise AssertionError(type(request))
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise e.Unavailable("lost")
        self.served += 1
        return answer

    def _open(self, caller: str, request: pb.OpenSessionRequest) -> pb.Session:
        if self.session is None:
            self.session = pb.Session(
                name=f"sessions/{request.session_id}",
                state=pb.OFFERED,
                suite=request.suite,
                initiator=caller,
                responder=request.responder,
                grade=self.grade.value,  # type: ignore[arg-type]
                root_epoch=2,
                qkd_key_ids=["a", "b"],
                offer=request.offer,
            )
        if self.session.offer != request.offer:
            raise e.SessionExists("another offer")
        return self._shown(caller)

    def _join(self, caller: str, request: pb.JoinSessionRequest) -> pb.Session:
        session = self.session
        if session is None or caller not in (session.initiator, session.responder):
            raise e.SessionNotFound("none")
        if request.HasField("answer"):
            if session.HasField("answer") and session.answer != request.answer:
                raise e.SessionStateConflict("answered")
            session.answer.CopyFrom(request.answer)
            session.state = pb.ANSWERED
        return session

    def _confirm(self, caller: str, request: pb.ConfirmSessionRequest) -> None:
        assert self.session is not None
        if caller == self.session.initiator:
            self.session.initiator_tag = request.tag
        else:
            self.session.responder_tag = request.tag

    def _shown(self, caller: str) -> pb.Session:
        assert self.session is not None
        shown = pb.Session()
        shown.CopyFrom(self.session)
        self.alter(shown, caller)
        return shown


class End:
    """One end's flow in progress, its clock and how it ended."""

    def __init__(self, principal: str, flow: Flow[EstablishedSession]) -> None:
        self.principal = principal
        self.now = 0.0
        self.result: EstablishedSession | None = None
        self.error: e.QkmsError | None = None
        self._flow = flow
        self._event: Event | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.result is not None or self.error is not None

    def turn(self, relay: Relay) -> None:
        """Performs one step."""
        try:
            step: Any = next(self._flow) if self._event is None else self._flow.send(self._event)
        except StopIteration as done:
            self.result = done.value
            return
        except e.QkmsError as error:
            self.error = error
            return
        if isinstance(step, Pause):
            self.now += step.seconds
            self._event = Event(self.now)
            return
        assert isinstance(step, Send)
        self.now += 0.01
        try:
            self._event = Event(self.now, response=relay.serve(self.principal, step.request))
        except e.QkmsError as error:
            self._event = Event(self.now, error=error)


def rules() -> Rules:
    return Rules(Router(["node-1"]), RevisionToken(), random.Random(1), timeout=10.0, attempt_timeout=2.0)


def opening(pending: PendingSession, **changes: Any) -> End:
    options = {"required_grade": None, "ttl": None, "announce": None, "timeout": 30.0} | changes
    return End(PAYMENTS, open_session(rules(), PAYMENTS, LEDGER, pending, **options))


def joining(pending: PendingSession, initiator: str | None = PAYMENTS, **changes: Any) -> End:
    options = {"required_grade": None, "timeout": 30.0} | changes
    return End(LEDGER, join_session(rules(), LEDGER, pending, initiator, **options))


def play(relay: Relay, *ends: End) -> tuple[End, ...]:
    """Takes turns until all have ended."""
    for _ in range(5000):
        for end in ends:
            if not end.over:
                end.turn(relay)
        if all(end.over for end in ends):
            return ends
    raise AssertionError("the ends never finish")


def both(relay: Relay, session_id: Any = None) -> tuple[End, ...]:
    identifier = session_id or uuid4()
    return play(relay, opening(PendingSession(identifier)), joining(PendingSession(identifier)))


@pytest.mark.parametrize("lost_answers", range(8))
def test_both_ends_hold_the_same_keys_whatever_answers_are_lost(lost_answers: int) -> None:
    initiator, responder = both(Relay(lost_answers=lost_answers))
    assert initiator.result is not None
    assert responder.result is not None
    assert initiator.result.fingerprint() == responder.result.fingerprint()
    assert initiator.result.send_key() == responder.result.receive_key()
    assert initiator.result.receive_key() == responder.result.send_key()
    assert (initiator.result.peer, responder.result.peer) == (LEDGER, PAYMENTS)
    assert initiator.result.grade is Grade.QKD_PQC
    assert initiator.result.root_epoch == 2


def test_the_responder_may_come_first_and_the_id_is_told_once_it_can_be_joined() -> None:
    relay, told, identifier = Relay(), [], uuid4()
    responder = joining(PendingSession(identifier))
    for _ in range(20):
        responder.turn(relay)
    assert not responder.over
    initiator = opening(PendingSession(identifier), announce=lambda s: told.append((s, relay.session is not None)))
    play(relay, initiator, responder)
    assert responder.result is not None
    assert told == [(str(identifier), True)]


def swapped_offer(session: pb.Session, caller: str) -> None:
    """A man in the middle offers the responder a key of his own."""
    if caller == LEDGER:
        mine = HybridPrivateKey.generate().public
        session.offer.mlkem_public_key, session.offer.x25519_public_key = mine.mlkem, mine.x25519


def other_answer(session: pb.Session, caller: str) -> None:
    if caller == PAYMENTS and session.HasField("answer"):
        session.answer.nonce = bytes(32)


def flipped_ciphertext(session: pb.Session, caller: str) -> None:
    if caller == PAYMENTS and session.HasField("answer"):
        changed = bytearray(session.answer.mlkem_ciphertext)
        changed[7] ^= 1
        session.answer.mlkem_ciphertext = bytes(changed)


def small_order_point(session: pb.Session, caller: str) -> None:
    if caller == LEDGER:
        session.offer.x25519_public_key = bytes(32)


def other_key_ids(session: pb.Session, caller: str) -> None:
    """The psk of one epoch passed off as that of another."""
    if caller == PAYMENTS:
        session.qkd_key_ids[:] = ["a", "c"]


def other_epoch(session: pb.Session, caller: str) -> None:
    if caller == LEDGER:
        session.root_epoch = 9


def reflected_tag(session: pb.Session, caller: str) -> None:
    """The initiator's own tag sent back as the peer's."""
    if caller == PAYMENTS and session.initiator_tag:
        session.responder_tag = session.initiator_tag


def empty_offer(session: pb.Session, caller: str) -> None:
    if caller == LEDGER:
        session.offer.mlkem_public_key = b""


@pytest.mark.parametrize(
    "alter",
    [
        swapped_offer,
        other_answer,
        flipped_ciphertext,
        small_order_point,
        other_key_ids,
        other_epoch,
        reflected_tag,
        empty_offer,
    ],
)
def test_what_the_relay_alters_never_becomes_a_session(alter: Alter) -> None:
    initiator, responder = both(Relay(alter=alter))
    assert initiator.result is None
    # The responder has a true tag of the initiator where only what the initiator sees is altered last.
    assert responder.result is None or alter is reflected_tag
    ended = {type(end.error) for end in (initiator, responder) if end.error is not None}
    assert e.SessionRejected in ended
    assert ended <= {e.SessionRejected, e.SessionNotEstablished}


def test_ends_with_different_psks_reject_each_other() -> None:
    """Recorded ML-KEM and X25519 secrets are not enough without the psk of the root."""
    initiator, responder = both(Relay(psks=(bytes(32), b"\1" * 32)))
    assert type(initiator.error) is e.SessionRejected
    assert type(responder.error) is e.SessionRejected


@pytest.mark.parametrize(
    ("field", "value", "who"),
    [
        ("responder", "spiffe://qkms.dev/service/mallory", "initiator"),
        ("initiator", "spiffe://qkms.dev/service/mallory", "responder"),
        ("name", "sessions/6f1c1a34-9d7e-4c55-8a3e-0f7d2f8f3b11", "responder"),
        ("suite", 0, "responder"),
    ],
)
def test_another_session_than_asked_for_is_rejected(field: str, value: Any, who: str) -> None:
    def alter(session: pb.Session, caller: str) -> None:
        if caller == (PAYMENTS if who == "initiator" else LEDGER):
            setattr(session, field, value)

    initiator, responder = both(Relay(alter=alter))
    assert type((initiator if who == "initiator" else responder).error) is e.SessionRejected


def test_a_responder_that_expects_somebody_else_does_not_answer() -> None:
    relay, identifier = Relay(), uuid4()
    play(
        relay,
        opening(PendingSession(identifier), timeout=2.0),
        responder := joining(PendingSession(identifier), initiator="spiffe://qkms.dev/service/mallory"),
    )
    assert type(responder.error) is e.SessionRejected
    assert relay.session is not None
    assert not relay.session.HasField("answer")


def test_a_lower_grade_than_required_is_rejected_by_either_end() -> None:
    identifier = uuid4()
    ends = play(
        Relay(grade=Grade.PQC),
        opening(PendingSession(identifier), required_grade=Grade.QKD_PQC, timeout=5.0),
        joining(PendingSession(identifier), required_grade=Grade.QKD, timeout=5.0),
    )
    assert type(ends[1].error) is e.SessionRejected
    assert "QKD is required" in str(ends[1].error)
    assert ends[0].result is None


def test_an_end_left_alone_says_so_in_time_and_may_go_on_with_the_same_pending_session() -> None:
    relay, pending = Relay(), PendingSession()
    (alone,) = play(relay, opening(pending, timeout=3.0))
    assert type(alone.error) is e.SessionNotEstablished
    assert "has not joined" in str(alone.error)
    assert alone.now <= 3.5
    again, joined = play(relay, opening(pending), joining(PendingSession(pending.session_id)))
    assert again.result is not None
    assert joined.result is not None
    assert again.result.fingerprint() == joined.result.fingerprint()


def test_a_fresh_offer_for_a_session_that_exists_is_refused() -> None:
    relay, identifier = Relay(), uuid4()
    play(relay, opening(PendingSession(identifier), timeout=1.0))
    (again,) = play(relay, opening(PendingSession(identifier), timeout=1.0))
    assert type(again.error) is e.SessionExists


def test_a_closed_session_ends_the_wait() -> None:
    def closed(session: pb.Session, _caller: str) -> None:
        session.state = pb.CLOSED

    (end,) = play(Relay(alter=closed), opening(PendingSession()))
    assert type(end.error) is e.SessionNotEstablished
    assert end.error.metadata == {"state": "CLOSED"}


def test_a_pending_session_serves_one_end_and_shows_nothing() -> None:
    pending = PendingSession()
    pending.initiator()
    with pytest.raises(ValueError, match="make another one"):
        pending.responder(pending.initiator().offer)
    assert "redacted" in repr(pending)
    with pytest.raises(TypeError, match="not pickled"):
        pending.__reduce__()
