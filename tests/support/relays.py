"""Relays between members whose addresses all of them agree on, told apart by what a host name stands for."""

from collections.abc import Mapping

from qkms_chaos.cluster import relay


class Relays(relay.Relays):
    """Between `members` (id -> 127.0.0.1:port) everyone dials through a relay of its own.

    All use the same addresses, `members` here, but what their host names stand for differs
    from caller to caller: `hosts`.
    """

    def __init__(self, members: Mapping[str, str]) -> None:
        ports = {member: int(address.rpartition(":")[2]) for member, address in members.items()}
        super().__init__(ports, net=1)
        self.members = {member: f"{member}.test:{port}" for member, port in ports.items()}

    def hosts(self, caller: str) -> dict[str, str]:
        """Host names and what they stand for, as `caller` sees it."""
        return {
            f"{target}.test": "127.0.0.1" if target == caller else self.host(caller, target)
            for target in self.members
        }
