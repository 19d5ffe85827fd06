"""Use cases of SessionService: relay public values, hand each participant its psk.

The psk is derived from the root epoch that was active when the session was
offered, at whichever node the participant asks; it is never stored and never
crosses between nodes. The cluster never learns the session's key.
"""

from qkms_node.access.guard import Guard
from qkms_node.keys.root import session_psk
from qkms_node.ledger.commands import (
    AnswerSession,
    CloseSession,
    ConfirmSession,
    OpenSession,
    Outcome,
    Request,
)
from qkms_node.ledger.records import AnswerRecord, OfferRecord, SessionRecord, SessionState
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Wanted
from qkms_node.service.proposing import Proposer
from qkms_node.service.reading import admit
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

# States in which the participants may fetch their psk.
ANSWERED = frozenset({SessionState.ANSWERED, SessionState.CONFIRMED})


class Sessions:
    """Opening, joining, confirming and closing sessions."""

    def __init__(
        self, guard: Guard, store: LedgerStore, roots: RootStore, proposer: Proposer, freshness: Freshness
    ) -> None:
        self._guard = guard
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._freshness = freshness

    async def open(
        self,
        request: Request,
        session_id: str,
        responder: str,
        suite: int,
        offer: OfferRecord,
        required_grade: int,
        ttl_ms: int,
    ) -> Outcome:
        """Offers a session to `responder`. Raises QkmsError."""
        self._guard.require(request.principal, "sessions.open")
        command = OpenSession(request, session_id, responder, suite, offer, required_grade, ttl_ms)
        return await self._proposer.effect(command)

    async def answer(
        self, request: Request, session_id: str, answer: AnswerRecord
    ) -> tuple[Outcome, SessionRecord, bytes]:
        """Joins a session as its responder: the outcome, the session, the responder's psk."""
        # Before anything is written: a node that cannot derive the psk must not take the answer.
        await admit(self._guard, self._freshness, LINEARIZABLE, request.principal, "sessions.join")
        self._psk(self._look(request.principal, session_id))
        outcome = await self._proposer.effect(AnswerSession(request, session_id, answer))
        session = outcome.session
        assert session is not None
        return outcome, session, self._psk(session)

    async def read(self, principal: str, session_id: str, wanted: Wanted) -> tuple[SessionRecord, bytes]:
        """The session and, once answered, the caller's psk (else empty)."""
        await admit(self._guard, self._freshness, wanted, principal, "sessions.join")
        session = self._look(principal, session_id)
        return session, self._psk(session) if session.state in ANSWERED else b""

    async def get(self, principal: str, session_id: str, wanted: Wanted) -> SessionRecord:
        """The session's public state."""
        await admit(self._guard, self._freshness, wanted, principal, "sessions.get")
        return self._look(principal, session_id)

    async def confirm(self, request: Request, session_id: str, tag: bytes) -> Outcome:
        """Records the caller's confirmation tag (32 bytes)."""
        self._guard.require(request.principal, "sessions.join")
        return await self._proposer.effect(ConfirmSession(request, session_id, tag))

    async def close(self, request: Request, session_id: str) -> Outcome:
        """Ends the session."""
        self._guard.require(request.principal, "sessions.join")
        return await self._proposer.effect(CloseSession(request, session_id))

    def _look(self, principal: str, session_id: str) -> SessionRecord:
        with self._store.view() as state:
            return state.session(session_id, principal)

    def _psk(self, session: SessionRecord) -> bytes:
        with self._store.view() as state:
            root = self._roots.root(state.roots[session.epoch])
        return session_psk(root, session.suite, session.session_id, session.initiator, session.responder)
