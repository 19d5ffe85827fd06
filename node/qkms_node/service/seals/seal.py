"""The interface of a seal, and its errors.

A seal turns the root store's content into bytes that are safe on disk, and
back. Making one may need a secret that is nowhere on the node: it is then made
when an operator brings that secret. Leaves out the mode `peers`, which seals
nothing because it stores nothing.
"""

from typing import Protocol


class SealError(Exception):
    """A seal cannot be made or used as configured; the message names the file or token and the way out."""

    code = "SEAL_UNUSABLE"


class SecretNeeded(SealError):
    """The secret of this seal is not here: bring it with `qkms-node unseal` or `qkms unseal`."""

    code = "SECRET_NEEDED"


class SealRejected(SealError):
    """What was sealed does not open: another secret, another key, another node's, or altered."""

    code = "SEAL_REJECTED"


class Seal(Protocol):
    """Seals and opens the root store's content."""

    def seal(self, payload: bytes) -> bytes:
        """`payload` as it may stand on disk. Raises SealError."""
        ...

    def open(self, data: bytes) -> bytes:
        """The inverse of `seal`. Raises SealRejected, or another SealError."""
        ...

    def wipe(self) -> None:
        """Wipes the seal's secret; it is of no use afterwards."""
        ...
