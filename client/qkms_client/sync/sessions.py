"""SessionService: hybrid session keys with another service."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from qkms_client.base import new_request_id
from qkms_client.flows import sessions as flows
from qkms_client.pending import PendingSession
from qkms_client.secret import EstablishedSession
from qkms_client.sync.runner import Runner
from qkms_client.types import Grade, Session


class SessionCalls(Runner):
    """The session id travels from initiator to responder by the application's own ways; it is no secret."""

    def open_session(
        self,
        responder: str,
        *,
        session: str | UUID | PendingSession | None = None,
        required_grade: Grade | None = None,
        ttl: timedelta | None = None,
        announce: Callable[[str], None] | None = None,
        timeout: float = 30.0,
    ) -> EstablishedSession:
        """Offers a session to the principal `responder` and waits until both ends confirmed their keys.

        `announce` is called with the session id once the offer is recorded: tell it to the peer.
        Pass a PendingSession as `session` to be able to repeat the call after
        SessionNotEstablished or OutcomeUnknown. `ttl`: 1 s to 24 h, by default 1 h.
        Raises SessionRejected when what comes back is not what was asked for; SessionExists; GradeTooLow.
        """
        pending = session if isinstance(session, PendingSession) else PendingSession(session)
        return self._run(
            flows.open_session(
                self._rules,
                self.principal,
                responder,
                pending,
                required_grade,
                ttl,
                announce,
                timeout,
            )
        )

    def join_session(
        self,
        session: str | UUID | PendingSession,
        *,
        initiator: str | None = None,
        required_grade: Grade | None = None,
        timeout: float = 30.0,
    ) -> EstablishedSession:
        """Joins a session offered to this principal and waits until both ends confirmed their keys.

        Name the `initiator` you expect: a session with anybody else is then rejected. Waits for
        the offer too. Raises SessionNotEstablished, SessionRejected.
        """
        pending = session if isinstance(session, PendingSession) else PendingSession(session)
        return self._run(
            flows.join_session(self._rules, self.principal, pending, initiator, required_grade, timeout)
        )

    def close_session(
        self,
        session: str | UUID,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Session:
        """Ends a session in the cluster; the keys are the ends' own to forget."""
        identifier = new_request_id(request_id)
        return self._run(flows.close_session(self._rules, session, identifier, timeout))

    def get_session(self, session: str | UUID, *, timeout: float | None = None) -> Session:
        """A session's public state. Raises SessionNotFound."""
        return self._run(flows.get_session(self._rules, session, timeout))
