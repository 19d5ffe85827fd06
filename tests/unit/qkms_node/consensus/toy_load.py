"""Clients of a toy cluster, and whether it told them the truth."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable

from tests.unit.qkms_node.consensus.toy_cluster import Refused, ToyCluster

REFUSED = {"NOT_COMMITTED", "NO_QUORUM"}  # certainly without effect
UNKNOWN = {"OUTCOME_UNKNOWN", "GONE"}
PACE_S = 0.02  # a steady load, not all that the machine can do: the members' restarts need it


async def code_of(call: Awaitable[object]) -> str:
    """How a call was refused; OK when it was not."""
    try:
        await call
    except Refused as refused:
        return str(refused.args[0])
    return "OK"


class Load:
    """Clients that propose different commands one after the other and remember how each ended."""

    def __init__(self, cluster: ToyCluster, within_s: float = 5) -> None:
        self._cluster = cluster
        self._within_s = within_s
        self._stop = False
        self.ended: dict[str, str] = {}
        self.endings: Counter[str] = Counter()

    async def run(self, clients: int) -> None:
        await asyncio.gather(*(self._client(number) for number in range(clients)))

    def stop(self) -> None:
        self._stop = True

    async def acknowledged(self, more: int, within_s: float = 20) -> None:
        """Waits until there were `more` further acknowledgements."""
        goal, deadline = self.endings["OK"] + more, time.monotonic() + within_s
        while self.endings["OK"] < goal:
            assert time.monotonic() < deadline, f"no progress, proposals ended as {self.endings}"
            await asyncio.sleep(0.01)

    async def _client(self, number: int) -> None:
        members = list(self._cluster.members.values())
        for turn in range(1_000_000):
            if self._stop:
                return
            name = f"client-{number}-{turn}"
            member = members[(number + turn) % len(members)]
            ending = self.ended[name] = await code_of(member.propose(name, self._within_s))
            self.endings[ending] += 1
            await asyncio.sleep(PACE_S)


async def check_truth(cluster: ToyCluster, load: Load) -> None:
    """Acknowledged means applied once; certainly refused means never; nothing is applied twice."""
    await cluster.agreed()
    counts = await cluster.alive[0].call("counts")
    endings = load.ended.items()
    strange = set(load.endings) - {"OK", *REFUSED, *UNKNOWN}
    lost = [name for name, ending in endings if ending == "OK" and name not in counts]
    applied_though_refused = [name for name, ending in endings if ending in REFUSED and name in counts]
    repeated = [name for name, count in counts.items() if count != 1]
    assert load.endings["OK"], f"the load did nothing: {load.endings}"
    assert not strange, f"proposals ended as {strange}"
    assert not lost, f"acknowledged and lost: {lost}"
    assert not applied_though_refused, f"refused and applied: {applied_though_refused}"
    assert not repeated, f"applied more than once: {repeated}"
