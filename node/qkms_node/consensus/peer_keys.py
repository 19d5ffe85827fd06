"""Where the engine gets QKD keys that it shares with another member: a port that the node's links stand behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from qkms_node.keys.secret import QkdSecret


@dataclass(frozen=True)
class Drawn:
    """A fresh key shared with a peer."""

    key_id: str
    secret: QkdSecret


class PeerKeys(Protocol):
    """Called on the engine's thread and never blocks. `done` is called once, on any thread, with what was asked
    for or the problem in words."""

    def draw(self, peer: str, done: Callable[[Drawn | str], None]) -> None:
        """A fresh key, as master."""
        ...

    def collect(self, peer: str, key_id: str, done: Callable[[QkdSecret | str], None]) -> None:
        """The key that the peer drew."""
        ...
