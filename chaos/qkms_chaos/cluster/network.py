"""How the members of a cluster reach each other: each address as one end dials it.

Every directed pair has an address of its own, so a proxy or a namespace can
stand in any one direction. `Loopback` puts nothing in between.
"""

from collections.abc import Sequence
from typing import Protocol

from qkms_chaos.cluster.layout import Layout

HOST = "127.0.0.1"


class Network(Protocol):
    """host:port of a target, as its caller dials it; and where the members themselves are."""

    def host(self, member: str) -> str:
        """The address that a node or KME listens at."""
        ...

    def inside(self, member: str, command: Sequence[str]) -> list[str]:
        """The command of a node's or KME's process, as it is started there."""
        ...

    def raft(self, caller: str, target: str) -> str:
        """Where node `caller` reaches the Raft listener of node `target`."""
        ...

    def rpc(self, target: str) -> str:
        """Where clients reach node `target`."""
        ...

    def etsi014(self, caller: str, kme: str) -> str:
        """Where node `caller` reaches its KME."""
        ...

    def kme_link(self, caller: str, target: str) -> str:
        """Where KME `caller` reaches KME `target`."""
        ...


class Loopback:
    """Everyone dials the listener itself."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def host(self, member: str) -> str:
        """See Network."""
        return HOST

    def inside(self, member: str, command: Sequence[str]) -> list[str]:
        """See Network."""
        return list(command)

    def raft(self, caller: str, target: str) -> str:
        """See Network."""
        return f"{self.host(target)}:{self._layout.site(target).raft_port}"

    def rpc(self, target: str) -> str:
        """See Network."""
        return f"{self.host(target)}:{self._layout.site(target).rpc_port}"

    def etsi014(self, caller: str, kme: str) -> str:
        """See Network."""
        return f"{self.host(kme)}:{self._layout.site(kme).etsi014_port}"

    def kme_link(self, caller: str, target: str) -> str:
        """See Network."""
        return f"{self.host(target)}:{self._layout.site(target).link_port}"
