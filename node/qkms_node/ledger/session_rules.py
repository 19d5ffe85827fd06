"""What commands do to sessions: offer, answer, confirm, close.

Each step is idempotent by its content: the same offer, answer or tag again
changes nothing; another one for the same session is refused. Expiry follows
the leader's time.
"""

from msgspec.structs import replace

from qkms_node.keys.grade import Grade, satisfies
from qkms_node.ledger.commands import (
    AnswerSession,
    CloseSession,
    ConfirmSession,
    OpenSession,
    Outcome,
)
from qkms_node.ledger.records import SessionRecord, SessionState
from qkms_node.ledger.state import SESSION_MEMORY_MS, Refusal, State

EXPIRE = "expire_session"
FORGET = "forget_session"


def open_session(state: State, command: OpenSession) -> Outcome:
    """Records an offer, bound to the root epoch that is active now."""
    known = state.sessions.get(command.session_id)
    if known is not None:
        same = (known.initiator, known.responder, known.offer) == (
            command.request.principal,
            command.responder,
            command.offer,
        )
        if not same:
            name = f"sessions/{command.session_id}"
            raise Refusal("SESSION_EXISTS", f"{name} exists already; choose another session_id", name=name)
        return Outcome(state.revision, note="already open", session=known)
    root = state.active_root()
    required = Grade(command.required_grade) if command.required_grade else None
    if not satisfies(root.grade, required):
        raise Refusal(
            "GRADE_TOO_LOW",
            f"root epoch {root.epoch} has grade {root.grade.name}, the session requires more",
            grade=root.grade.name,
        )
    session = SessionRecord(
        session_id=command.session_id,
        suite=command.suite,
        initiator=command.request.principal,
        responder=command.responder,
        state=SessionState.OFFERED,
        grade=root.grade,
        epoch=root.epoch,
        qkd_key_ids=root.qkd_key_ids,
        offer=command.offer,
        create_ms=state.time_ms,
        expire_ms=state.time_ms + command.ttl_ms,
    )
    state.schedule(session.expire_ms, EXPIRE, session.session_id)
    state.schedule(session.expire_ms + SESSION_MEMORY_MS, FORGET, session.session_id)
    return _store(state, session)


def answer_session(state: State, command: AnswerSession) -> Outcome:
    """Records the responder's answer."""
    session = state.session(command.session_id, command.request.principal)
    if session.responder != command.request.principal:
        raise Refusal("SESSION_STATE", "only the responder answers a session")
    if session.answer == command.answer:
        return Outcome(state.revision, note="already answered", session=session)
    _require(session, SessionState.OFFERED, "answered")
    return _store(state, replace(session, state=SessionState.ANSWERED, answer=command.answer))


def confirm_session(state: State, command: ConfirmSession) -> Outcome:
    """Records a participant's tag; with both tags the session is confirmed."""
    session = state.session(command.session_id, command.request.principal)
    initiator = session.initiator == command.request.principal
    given = session.initiator_tag if initiator else session.responder_tag
    if given == command.tag:
        return Outcome(state.revision, note="already confirmed", session=session)
    _require(session, SessionState.ANSWERED, "confirmed")
    if given:
        raise Refusal("SESSION_STATE", f"sessions/{session.session_id} has another tag of this participant")
    tagged = replace(
        session,
        initiator_tag=command.tag if initiator else session.initiator_tag,
        responder_tag=session.responder_tag if initiator else command.tag,
    )
    both = bool(tagged.initiator_tag and tagged.responder_tag)
    return _store(state, replace(tagged, state=SessionState.CONFIRMED) if both else tagged)


def close_session(state: State, command: CloseSession) -> Outcome:
    """Ends a session; a closed or expired one stays as it is."""
    session = state.session(command.session_id, command.request.principal)
    if session.state in (SessionState.CLOSED, SessionState.EXPIRED):
        return Outcome(state.revision, note=f"already {session.state.name}", session=session)
    return _store(state, replace(session, state=SessionState.CLOSED))


def expire_due(state: State, session_id: str) -> bool:
    """Marks an unfinished or open session expired; True if it changed."""
    session = state.sessions.get(session_id)
    if session is None or session.state in (SessionState.CLOSED, SessionState.EXPIRED):
        return False
    state.sessions[session_id] = replace(session, state=SessionState.EXPIRED)
    return True


def forget_due(state: State, session_id: str) -> bool:
    """Drops a session that ended long ago; True if there was one."""
    return state.sessions.pop(session_id, None) is not None


def _require(session: SessionRecord, wanted: SessionState, done: str) -> None:
    if session.state is not wanted:
        raise Refusal(
            "SESSION_STATE",
            f"sessions/{session.session_id} is {session.state.name}: it cannot be {done} now",
            state=session.state.name,
        )


def _store(state: State, session: SessionRecord) -> Outcome:
    state.sessions[session.session_id] = session
    return Outcome(state.revision + 1, changed=True, session=session)
