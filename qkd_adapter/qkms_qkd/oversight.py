"""Who decides whether a KME may be drawn from, for links that draw by their own choice of KME or moment.

A link of several KMEs (`failover`) and one that draws ahead (`prefetch`) ask keys of a KME that their user has not
looked at. So they ask their user first, and tell what they see. Left out: any rule; the node's are its own.
"""

from typing import Protocol

from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus


class Oversight(Protocol):
    """Rules and observations of the link to one peer; `kme_id` is the name the KME is configured by."""

    def look(self, kme_id: str, seen: LinkStatus | LinkError) -> None:
        """A KME was asked for its status: what it said, or why it did not."""
        ...

    def refusal(self, kme_id: str, status: LinkStatus) -> LinkError | None:
        """Why no key may be drawn from a KME whose status this is; None: it may."""
        ...

    def drew(self, kme_id: str, number: int, size_bits: int) -> None:
        """So many keys were drawn ahead, unasked."""
        ...


class NoOversight:
    """Every KME may be drawn from, nobody looks on; satisfies Oversight."""

    def look(self, kme_id: str, seen: LinkStatus | LinkError) -> None:
        """Nobody is told."""

    def refusal(self, kme_id: str, status: LinkStatus) -> LinkError | None:
        """Never one."""
        return None

    def drew(self, kme_id: str, number: int, size_bits: int) -> None:
        """Nobody is told."""
