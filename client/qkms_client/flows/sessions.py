"""Establishing a session: offer, answer, keys, and confirmation by both ends.

Nothing the cluster relays is believed as it comes: names, offer and grade are
compared with what was asked for, and both ends prove to each other, over the
whole transcript, that they hold the same keys before either gets them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from qkms import session as schedule
from qkms.kem import KemRejected
from qkms.session import Party, SessionKeys
from qkms.v1 import session_pb2 as pb
from qkms_client import decode, methods, relayed
from qkms_client.call import Rules, call
from qkms_client.consistency import duration
from qkms_client.errors import (
    SessionNotEstablished,
    SessionNotFound,
    SessionRejected,
)
from qkms_client.flow import Flow, Pause
from qkms_client.names import session_id as canonical
from qkms_client.pending import PendingSession
from qkms_client.secret import EstablishedSession
from qkms_client.types import Grade, Session, SessionState

FIRST_POLL_S = 0.05
MAX_POLL_S = 0.5


@dataclass
class _Clock:
    """The time left to a flow; `now` is kept current by _poll and _time."""

    deadline: float
    now: float
    poll: float = FIRST_POLL_S

    @property
    def left(self) -> float:
        return self.deadline - self.now


def open_session(
    rules: Rules,
    own: str | None,
    responder: str,
    pending: PendingSession,
    required_grade: Grade | None,
    ttl: timedelta | None,
    announce: Callable[[str], None] | None,
    timeout: float,
) -> Flow[EstablishedSession]:
    """The initiator's whole part. Raises SessionNotEstablished, SessionRejected, other QkmsError."""
    clock = yield from _clock(timeout)
    end = pending.initiator()
    request = pb.OpenSessionRequest(
        request_id=pending.request_id,
        session_id=pending.session_id,
        responder=responder,
        suite=pb.MLKEM768_X25519_SHA256,
        offer=relayed.offer_message(end.offer),
        ttl=None if ttl is None else duration(ttl),
    )
    request.required_grade = (required_grade or Grade.UNSPECIFIED).value  # type: ignore[assignment]
    yield from call(rules, methods.OPEN_SESSION, request, timeout=clock.left)
    if announce is not None:
        announce(pending.session_id)
    while True:
        response = yield from _read(rules, pending, clock)
        session = response.session
        if response.psk:
            break
        yield from _poll(clock, pending, f"{responder} has not joined it")
    relayed.same("responder", session.responder, responder)
    if own is not None:
        relayed.same("initiator", session.initiator, own)
    if relayed.offer(session.offer) != end.offer:
        raise SessionRejected(f"session {pending.session_id} carries another offer than this end made")
    parameters = relayed.parameters(session, pending, required_grade)
    answer = relayed.answer(session.answer)
    try:
        keys, th = end.finish(parameters, answer, response.psk)
    except (KemRejected, ValueError) as error:
        raise SessionRejected(f"session {pending.session_id}: {error}") from error
    return (yield from _confirm(rules, clock, pending, Party.INITIATOR, session, keys, th))


def join_session(
    rules: Rules,
    own: str | None,
    pending: PendingSession,
    initiator: str | None,
    required_grade: Grade | None,
    timeout: float,
) -> Flow[EstablishedSession]:
    """The responder's whole part. Raises SessionNotEstablished, SessionRejected, other QkmsError."""
    clock = yield from _clock(timeout)
    while True:
        try:
            session = (yield from _read(rules, pending, clock)).session
            break
        except SessionNotFound:
            yield from _poll(clock, pending, "it has not been offered to this principal")
    if initiator is not None:
        relayed.same("initiator", session.initiator, initiator)
    if own is not None:
        relayed.same("responder", session.responder, own)
    parameters = relayed.parameters(session, pending, required_grade)
    try:
        end = pending.responder(relayed.offer(session.offer))
    except KemRejected as error:
        raise SessionRejected(f"session {pending.session_id}: {error}") from error
    request = pb.JoinSessionRequest(
        request_id=pending.request_id,
        name=f"sessions/{pending.session_id}",
        answer=relayed.answer_message(end.answer),
    )
    response = yield from call(rules, methods.ANSWER_SESSION, request, timeout=clock.left)
    try:
        keys, th = end.finish(parameters, response.psk)
    except ValueError as error:
        raise SessionRejected(f"session {pending.session_id}: {error}") from error
    return (yield from _confirm(rules, clock, pending, Party.RESPONDER, response.session, keys, th))


def close_session(rules: Rules, session: str | UUID, request_id: str, timeout: float | None) -> Flow[Session]:
    """CloseSession."""
    request = pb.CloseSessionRequest(request_id=request_id, name=f"sessions/{canonical(session)}")
    response = yield from call(rules, methods.CLOSE_SESSION, request, timeout=timeout)
    return decode.session(response.session, decode.header(response.header))


def get_session(rules: Rules, session: str | UUID, timeout: float | None) -> Flow[Session]:
    """GetSession."""
    request = pb.GetSessionRequest(name=f"sessions/{canonical(session)}")
    response = yield from call(rules, methods.GET_SESSION, request, timeout=timeout)
    return decode.session(response.session, decode.header(response.header))


def _confirm(
    rules: Rules,
    clock: _Clock,
    pending: PendingSession,
    party: Party,
    session: pb.Session,
    keys: SessionKeys,
    th: bytes,
) -> Flow[EstablishedSession]:
    yield from _time(clock)
    request = pb.ConfirmSessionRequest(
        request_id=pending.confirm_request_id,
        name=f"sessions/{pending.session_id}",
        tag=schedule.confirm_tag(keys, party, th),
    )
    response = yield from call(rules, methods.CONFIRM_SESSION, request, timeout=clock.left)
    peer = Party.RESPONDER if party is Party.INITIATOR else Party.INITIATOR
    current = response.session
    clock.poll = FIRST_POLL_S
    while not (tag := current.responder_tag if peer is Party.RESPONDER else current.initiator_tag):
        yield from _poll(clock, pending, "the peer has not confirmed its keys")
        current = (yield from _read(rules, pending, clock)).session
    try:
        # Without the peer's tag an attacker in the middle, or a wrong psk, would show only as garbage later.
        schedule.check_tag(keys, peer, th, tag)
    except schedule.SessionRejected as error:
        raise SessionRejected(f"session {pending.session_id}: {error}") from error
    record = decode.session(session, decode.header(response.header))
    return EstablishedSession(
        keys,
        session_id=pending.session_id,
        party=party,
        initiator=record.initiator,
        responder=record.responder,
        grade=record.grade,
        root_epoch=record.root_epoch,
        expire_time=record.expire_time,
    )


def _read(rules: Rules, pending: PendingSession, clock: _Clock) -> Flow[pb.JoinSessionResponse]:
    request = pb.JoinSessionRequest(name=f"sessions/{pending.session_id}")
    response = yield from call(rules, methods.READ_SESSION, request, timeout=clock.left)
    yield from _time(clock)
    if response.session.state in (SessionState.CLOSED.value, SessionState.EXPIRED.value):
        state = SessionState(response.session.state)
        raise SessionNotEstablished(f"session {pending.session_id} is {state}", metadata={"state": state.name})
    return response


def _poll(clock: _Clock, pending: PendingSession, why: str) -> Flow[None]:
    clock.now = (yield Pause(min(clock.poll, max(clock.left, 0.0)))).time
    clock.poll = min(clock.poll * 2, MAX_POLL_S)
    if clock.left <= 0:
        raise SessionNotEstablished(f"session {pending.session_id} was not established in time: {why}")


def _clock(timeout: float) -> Flow[_Clock]:
    now = (yield Pause(0)).time
    return _Clock(now + timeout, now)


def _time(clock: _Clock) -> Flow[None]:
    clock.now = (yield Pause(0)).time
    if clock.left <= 0:
        raise SessionNotEstablished("the session was not established in time")
