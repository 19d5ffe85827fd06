"""From which state an answer was given."""

from dataclasses import dataclass
from datetime import timedelta

from qkms_client.enums import Level


@dataclass(frozen=True)
class Header:
    """The state an answer was given from. `staleness` bounds its age; None: not known."""

    revision: int
    term: int
    leader_known: bool
    staleness: timedelta | None
    consistency: Level
    node_id: str
    leader_id: str
