"""The network between members as TCP relays, one for each pair and direction, that can be cut.

A member dials a peer through the relay of that pair.
"""

import asyncio
from collections.abc import Callable, Mapping

from qkms_chaos.cluster.relay import Relay


class Relays:
    """Between `members` (id -> 127.0.0.1:port) everyone dials through a relay of its own.

    All use the same addresses, `members` here, but what their host names stand for differs
    from caller to caller: `hosts`. The relay from the 1st to the 2nd member listens at 127.1.1.2.
    """

    def __init__(self, members: Mapping[str, str]) -> None:
        self._relays: dict[tuple[str, str], Relay] = {}
        self._hosts: dict[str, dict[str, str]] = {}
        self.members = {member: f"{member}.test:{_port(address)}" for member, address in members.items()}
        for row, caller in enumerate(members, 1):
            self._hosts[caller] = {f"{caller}.test": "127.0.0.1"}
            for column, (target, address) in enumerate(members.items(), 1):
                if target != caller:
                    host = self._hosts[caller][f"{target}.test"] = f"127.1.{row}.{column}"
                    self._relays[caller, target] = Relay(host, _port(address))

    async def start(self) -> None:
        for relay in self._relays.values():
            await relay.start()

    def hosts(self, caller: str) -> dict[str, str]:
        """Host names and what they stand for, as `caller` sees it."""
        return self._hosts[caller]

    def cut_off(self, member: str) -> None:
        """`member` reaches nobody and nobody reaches it."""
        self._each(lambda caller, target: member in (caller, target), Relay.cut)

    def silence(self, member: str) -> None:
        """What `member` sends arrives nowhere; it still hears the others."""
        self._each(lambda caller, _: caller == member, Relay.cut)

    def heal(self, *, reset: bool = False) -> None:
        """The network is whole."""
        self._each(lambda *_: True, lambda relay: relay.heal(reset=reset))

    async def close(self) -> None:
        await asyncio.gather(*(relay.close() for relay in self._relays.values()))

    def _each(self, chosen: Callable[[str, str], bool], do: Callable[[Relay], None]) -> None:
        for pair, relay in self._relays.items():
            if chosen(*pair):
                do(relay)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
