"""A postquantum pre-shared key (PPK, RFC 8784) of strongSwan, by its control socket (vici).

The secret is loaded under one identifier and replaces the one before. It enters an IKE SA when that is
authenticated: so the end that begins authenticates its connection anew once both ends have the new one. What is
under way goes on until then. The connection itself is the operator's: `ppk_id` names the identifier at both ends,
and `ppk_required = yes` refuses a peer without. The key is never written to a file; strongSwan keeps it in memory.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qkms_client.agent.rotation import AgreedKey
from qkms_client.agent.target import TargetFailed

TIMEOUT_S = 10.0
DEFAULT_SOCKET = "/var/run/charon.vici"


class StrongswanTarget:
    """The PPK `ppk_id`; `connection` is authenticated anew by the end that begins. Raises TargetFailed."""

    def __init__(self, ppk_id: str, connection: str | None, socket_path: str = DEFAULT_SOCKET) -> None:
        self._ppk_id = ppk_id
        self._connection = connection
        self._socket = socket_path

    def install(self, key: AgreedKey, *, initiates: bool) -> None:
        """See Target."""
        secret = {"id": f"qkms-{self._ppk_id}", "type": "PPK", "data": key.key, "owners": [self._ppk_id]}
        try:
            with vici_session(self._socket) as session:
                session.load_shared(secret)
                if initiates and self._connection is not None and self._is_up(session):
                    session.rekey({"ike": self._connection, "reauth": "yes"})
        except TargetFailed:
            raise
        # The library has several kinds of its own, none of which holds what was sent.
        except Exception as error:
            raise TargetFailed(
                f"strongSwan at {self._socket}: {type(error).__name__}: {str(error)[:200]}; is charon running?"
            ) from None

    def _is_up(self, session: Any) -> bool:
        return any(self._connection in sa for sa in session.list_sas({"ike": self._connection}))


@contextmanager
def vici_session(path: str) -> Iterator[Any]:
    """A session with the daemon behind this socket. Raises OSError, TargetFailed without the library."""
    try:
        from vici import Session  # an extra: only who uses strongSwan needs it
    except ImportError as error:
        raise TargetFailed("install the strongswan extra: pip install 'qkms-client[strongswan]'") from error
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        yield Session(connection)
