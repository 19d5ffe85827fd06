"""SessionService: hybrid session keys with another service."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.flows import sessions as flows
from qkms_client.pending import PendingSession
from qkms_client.secret import EstablishedSession
from qkms_client.types import Grade, Session


class AsyncSessionCalls(AsyncRunner):
    """The session id travels from initiator to responder by the application's own ways; it is no secret."""

    async def open_session(
        self,
        responder: str,
        *,
        session: str | UUID | PendingSession | None = None,
        required_grade: Grade | None = None,
        ttl: timedelta | None = None,
        announce: Callable[[str], None] | None = None,
        timeout: float = 30.0,
    ) -> EstablishedSession:
        """As Client.open_session."""
        pending = session if isinstance(session, PendingSession) else PendingSession(session)
        return await self._run(
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

    async def join_session(
        self,
        session: str | UUID | PendingSession,
        *,
        initiator: str | None = None,
        required_grade: Grade | None = None,
        timeout: float = 30.0,
    ) -> EstablishedSession:
        """As Client.join_session."""
        pending = session if isinstance(session, PendingSession) else PendingSession(session)
        return await self._run(
            flows.join_session(self._rules, self.principal, pending, initiator, required_grade, timeout)
        )

    async def close_session(
        self,
        session: str | UUID,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Session:
        """As Client.close_session."""
        identifier = new_request_id(request_id)
        return await self._run(flows.close_session(self._rules, session, identifier, timeout))

    async def get_session(self, session: str | UUID, *, timeout: float | None = None) -> Session:
        """As Client.get_session."""
        return await self._run(flows.get_session(self._rules, session, timeout))
