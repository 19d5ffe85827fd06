"""What is measured on the cluster of members; each function leaves it settled and complete."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from qkms_chaos.bench.figures import Load, Spread, spread_of
from qkms_chaos.bench.machine import cpu_s
from qkms_chaos.bench.members import Members

MIB = 1 << 20
FIRST_WRITE_S = 20.0
FILL_S = 45.0
SETTLE_S = 120.0
WARM_UP_S = 0.3

Told = Callable[[str], None]


class NotReplicated(Exception):
    """Acknowledged commands are missing on a member: the rates mean nothing. The message has both counts."""


@dataclass(frozen=True)
class Recovery:
    """A member that was away while `backlog_mib` MiB (2**20 bytes) of commands were committed.

    `fill_s`: how long the others took to commit them; `recover_s`: from the start of its process until it had
    applied everything.
    """

    backlog_mib: float
    fill_s: float
    recover_s: float


def writes(members: Members, outstanding: int, seconds: float, size: int) -> Load:
    """Proposals at the leader. Raises NotReplicated when a member lacks some of them afterwards."""
    leader = members.settled()
    before = leader.call("status")["commands"]
    leader.call("writes", outstanding=outstanding, seconds=WARM_UP_S, bytes=size)
    load = Load(**leader.call("writes", outstanding=outstanding, seconds=seconds, bytes=size))
    members.settled()
    applied = min(member.call("status")["commands"] for member in members.all) - before
    if applied < load.per_s * seconds:
        raise NotReplicated(f"{load.per_s * seconds:.0f} commands acknowledged, {applied} applied by every member")
    return load


def reads(members: Members, waiting: int, seconds: float) -> Load:
    """Read barriers at the leader, `waiting` at a time, with no writes beside them."""
    leader = members.settled()
    leader.call("reads", outstanding=waiting, seconds=WARM_UP_S)
    return Load(**leader.call("reads", outstanding=waiting, seconds=seconds))


def idle_cpu(members: Members, seconds: float) -> list[float]:
    """Percent of one core that each member uses when nobody calls."""
    members.settled()
    before = [cpu_s(member.pid) for member in members.all]
    begun = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begun
    return [100 * (cpu_s(m.pid) - used) / elapsed for m, used in zip(members.all, before, strict=True)]


def failover(members: Members, kills: int, size: int, told: Told) -> Spread:
    """From kill -9 of the leader to the first acknowledged write of either survivor, both trying."""
    durations = []
    for number in range(1, kills + 1):
        leader = members.settled(SETTLE_S)
        killed_at = time.monotonic()
        leader.kill()
        survivors = members.alive
        for member in survivors:
            member.ask("first_write", bytes=size, within_s=FIRST_WRITE_S)
        durations.append(min(member.answer()["at"] for member in survivors) - killed_at)
        leader.start()
        told(f"{number} of {kills} kills, last {durations[-1] * 1000:.0f} ms")
    members.settled(SETTLE_S)
    return spread_of(durations)


def recovery(members: Members, backlog_mib: int) -> Recovery:
    """Takes a follower away, commits the backlog, or as much as fits in FILL_S, without it, and brings it back.

    The cluster must not compact its log on the way, or the follower gets a snapshot instead of the backlog.
    Raises NotReplicated.
    """
    leader = members.settled(SETTLE_S)
    follower = next(member for member in members.all if member is not leader)
    follower.kill()
    filled = leader.call("fill", 2 * FILL_S, bytes=backlog_mib * MIB, seconds=FILL_S)
    acknowledged = leader.call("status")["commands"]
    begun = time.monotonic()
    follower.start()
    members.settled(SETTLE_S)
    recover_s = time.monotonic() - begun
    applied = follower.call("status")["commands"]
    if applied < acknowledged:
        raise NotReplicated(f"{acknowledged} commands acknowledged, {applied} applied by the recovered member")
    return Recovery(filled["bytes"] / MIB, filled["seconds"], recover_s)
