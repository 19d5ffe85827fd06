"""Session guarantees: what this client has seen, it sees ever after.

The token is the highest ledger revision in any answer. Reads that name no
consistency carry it, so that they see the client's own writes and never go back
in time, whichever node answers. Pure.
"""

from qkms_client.consistency import Consistency, at_least
from qkms_client.methods import Fresh


class RevisionToken:
    """The highest revision seen; it only grows."""

    def __init__(self, revision: int = 0) -> None:
        self._revision = revision

    @property
    def revision(self) -> int:
        """The highest revision seen, 0 before the first answer."""
        return self._revision

    def saw(self, revision: int) -> None:
        """Takes note of an answer's revision."""
        self._revision = max(self._revision, revision)

    def consistency(self, asked: Consistency | None, fresh: Fresh) -> Consistency | None:
        """The consistency to send: what was asked for, else the default; None: the method's own."""
        if asked is not None:
            return asked
        if fresh is Fresh.SEEN and self._revision:
            return at_least(self._revision)
        return None

    def too_old(self, revision: int, asked: Consistency | None, fresh: Fresh) -> bool:
        """Whether an answer from `revision` would take the caller back in time unasked."""
        return asked is None and fresh is Fresh.CHECKED and revision < self._revision
