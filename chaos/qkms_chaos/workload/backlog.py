"""A node is cut off, the others take writes until it lacks so many bytes, it catches up: one trial after another.

The leader is cut off in every other trial, a follower in the rest. Writers replace the labels of keys of their own
by the largest that there may be. What counts: from the cut to the first write acknowledged that began after it,
and from the end of the cut to the moment at which all nodes say one revision and one state digest, no writes
coming. The backlog is what acknowledged writes carried; what the log adds to it is not counted.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count

from qkms_chaos.checking.history import Outcome, Recorder
from qkms_chaos.cluster.waits import WaitExpired
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.nemesis import Nemesis
from qkms_chaos.faults.schedule import HealNetwork, Isolate
from qkms_chaos.workload.caller import Answer, Caller
from qkms_client import AsyncClient, Profile, load_profile

BACKLOG_BYTES = 10 * 1000 * 1000
WRITABLE_S, CAUGHT_UP_S = 2.0, 5.0
WRITERS = 8
TIMEOUT_S = 2.5
GIVES_UP_S = 120.0
"""A trial whose backlog has not grown so far by then is over all the same, and says how far it came."""
CATCH_UP_TIMEOUT_S = 60.0

Told = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """`cut_off`: which node, and its part; `behind`: how many revisions it lacked in the end, by its own word.

    Times in seconds; None: it did not happen.
    """

    cut_off: str
    part: str
    first_write_s: float | None
    backlog_bytes: int
    behind: int
    caught_up_s: float | None

    def breaches(self) -> list[str]:
        """What of the promise does not hold."""
        name, found = f"{self.cut_off}, {self.part}, was cut off", []
        if self.first_write_s is None or self.first_write_s > WRITABLE_S:
            found.append(f"{name}: the first write was accepted after {_words(self.first_write_s)}")
        if self.backlog_bytes < BACKLOG_BYTES:
            found.append(f"{name}: only {self.backlog_bytes:,} bytes could be written meanwhile")
        if self.behind <= 0:
            found.append(f"{name}: it lacked nothing in the end, so it was not cut off")
        if self.caught_up_s is None or self.caught_up_s > CAUGHT_UP_S:
            found.append(f"{name}: the nodes came to one state after {_words(self.caught_up_s)}")
        return found


@dataclass
class BacklogRun:
    """All trials, between `begun` and `ended` (time.monotonic)."""

    trials: list[Trial] = field(default_factory=list)
    begun: float = 0.0
    ended: float = 0.0


@dataclass
class _Written:
    """What was acknowledged since the cut."""

    first: float | None = None
    total: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)


def backlog_trials(world: World, nemesis: Nemesis, recorder: Recorder, trials: int, told: Told) -> BacklogRun:
    """Runs so many. Raises QkmsError, WaitExpired when there is no cluster to begin with."""
    profile = load_profile(world.cluster.layout.service_profile("payments"))
    keys = [f"backlog-{number}" for number in range(WRITERS)]
    for key in keys:
        world.payments.create_key(key)
    run = BacklogRun(begun=time.monotonic())
    for number in range(trials):
        leader = world.observer.wait_leader()
        part = "the leader" if number % 2 == 0 else "a follower"
        cut_off = leader if part == "the leader" else world.others(leader)[number // 2 % 2]
        run.trials.append(_trial(world, nemesis, recorder, profile, keys, cut_off, part))
        told(f"{number + 1} of {trials}: {run.trials[-1]}")
    run.ended = time.monotonic()
    return run


def _trial(
    world: World,
    nemesis: Nemesis,
    recorder: Recorder,
    profile: Profile,
    keys: Sequence[str],
    cut_off: str,
    part: str,
) -> Trial:
    nemesis.carry_out(Isolate(cut_off))
    cut = nemesis.happened[-1].end
    written = asyncio.run(_write(profile, keys, recorder))
    seen = {node: status.revision for node, status in world.observer.statuses().items()}
    nemesis.carry_out(HealNetwork())
    healed = nemesis.happened[-1].end
    try:
        world.observer.wait_agreement(timeout_s=CATCH_UP_TIMEOUT_S)
        caught_up_s = time.monotonic() - healed
    except WaitExpired:
        caught_up_s = None
    first_s = None if written.first is None else written.first - cut
    behind = max(seen.values(), default=0) - seen.get(cut_off, 0)
    return Trial(cut_off, part, first_s, written.total, behind, caught_up_s)


async def _write(profile: Profile, keys: Sequence[str], recorder: Recorder) -> _Written:
    written = _Written()
    asyncio.get_running_loop().call_later(GIVES_UP_S, written.enough.set)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for number, key in enumerate(keys):
            own = replace(
                profile,
                endpoints=_from(profile, number),
                timeout_s=TIMEOUT_S,
                attempt_timeout_s=TIMEOUT_S / 2,
            )
            client = await stack.enter_async_context(AsyncClient(own))
            group.create_task(_writer(client, Caller(f"writer {number}", recorder), key, written))
    return written


async def _writer(client: AsyncClient, caller: Caller, key: str, written: _Written) -> None:
    labels: dict[str, str] = {}

    async def update() -> Answer:
        changed = await client.update_key(key, labels=labels)
        return {}, changed.header

    for round_ in count():
        if written.enough.is_set():
            return
        labels = largest_labels(round_)
        if await caller.done("update", key, {}, update) is not Outcome.OK:
            continue
        written.first = written.first or time.monotonic()
        written.total += sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
        if written.total >= BACKLOG_BYTES:
            written.enough.set()


def largest_labels(round_: int) -> dict[str, str]:
    """As many labels as a key may have, as long as they may be, of characters of four bytes; others each round."""
    wide = chr(0x1F300 + round_ % 256)
    return {f"{number:02d}{wide * 61}": wide * 63 for number in range(64)}


def _from(profile: Profile, number: int) -> dict[str, str]:
    """The endpoints, another one first for each."""
    nodes = list(profile.endpoints)
    shift = number % len(nodes)
    return {node: profile.endpoints[node] for node in (*nodes[shift:], *nodes[:shift])}


def _words(seconds: float | None) -> str:
    return "longer than was waited for" if seconds is None else f"{seconds:.2f} s"
