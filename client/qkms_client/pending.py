"""One end's state of a session that is being established.

Holds the key pair or the answer, the nonce and the request ids, so that an
interrupted open or join can be repeated with exactly the same messages. A
fresh one would meet SESSION_EXISTS or SESSION_STATE.
"""

import secrets
from collections.abc import Callable
from uuid import UUID, uuid4

from qkms.kem import HybridPrivateKey
from qkms.session import NONCE_BYTES, Initiator, Offer, Responder
from qkms_client.errors import SessionRejected
from qkms_client.names import session_id as canonical


class PendingSession:
    """Make one per session and end; pass it again to repeat open_session or join_session."""

    def __init__(
        self,
        session_id: str | UUID | None = None,
        *,
        new_id: Callable[[], UUID] = uuid4,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.session_id = canonical(session_id or new_id())
        self.request_id = str(new_id())
        self.confirm_request_id = str(new_id())
        self._nonce = random_bytes(NONCE_BYTES)
        self._initiator: Initiator | None = None
        self._responder: tuple[Offer, Responder] | None = None

    def initiator(self) -> Initiator:
        """The offering end; its key pair is made at the first call."""
        if self._responder is not None:
            raise ValueError("this PendingSession joined a session; make another one to open one")
        if self._initiator is None:
            self._initiator = Initiator(HybridPrivateKey.generate(), self._nonce)
        return self._initiator

    def responder(self, offer: Offer) -> Responder:
        """The answering end; it encapsulates at the first call. Raises SessionRejected for another offer."""
        if self._initiator is not None:
            raise ValueError("this PendingSession opened a session; make another one to join one")
        if self._responder is None:
            self._responder = (offer, Responder(offer, self._nonce))
        if self._responder[0] != offer:
            raise SessionRejected(f"the offer of session {self.session_id} changed after it was answered")
        return self._responder[1]

    def __repr__(self) -> str:
        return f"PendingSession({self.session_id}, keys redacted)"

    def __reduce__(self) -> str:
        raise TypeError("a PendingSession holds private keys and is not pickled")
