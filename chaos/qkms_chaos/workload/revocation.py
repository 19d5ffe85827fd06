"""Revocation under a partition: a node that is cut off stops using a revoked version within the key's bound.

One node is cut off from the others, a version is disabled through these, and a
client that knows the cut-off node only goes on encrypting and decrypting there.
When its last use that succeeded began, counted from the acknowledged revocation,
must be no later than the key's `max_staleness`. Clients and cluster share a machine,
so that all times are of one clock. All of it is in the history, for the checkers.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from qkms_chaos.checking.history import Op, Outcome, Recorder
from qkms_chaos.checking.uses import revoked
from qkms_chaos.cluster.waits import POLL_S, WaitExpired
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.nemesis import Nemesis
from qkms_chaos.faults.schedule import HealNetwork, Isolate
from qkms_chaos.workload.clients import create_keys, last_looks
from qkms_chaos.workload.load import OWN, Load
from qkms_chaos.workload.load_client import LoadClient
from qkms_chaos.workload.records import read_records
from qkms_client import AsyncClient, QkmsError, load_profile

KEY = "revoked-under-partition"
ATTEMPT_S = 1.0
LOOK_ON_S = 2.0
HEAL_TIMEOUT_S = 20.0


@dataclass
class RevocationRun:
    """What happened, in `ops`. `disagreement`: why nodes came to no common state in the end; empty: they did.
    Times of time.monotonic."""

    ops: Sequence[Op]
    max_staleness_s: float
    cut_off: str = ""
    refused_with: str = ""
    after_healing: str = ""
    disagreement: str = ""
    begun: float = 0.0
    agreed: float = 0.0

    @property
    def last_use_s(self) -> float:
        """From the acknowledged revocation to the start of the last use; negative when there was none after it."""
        done = [op for op in self.ops if op.outcome is Outcome.OK]
        [end] = [op.end for op in done if op.call == "disable" and op.end is not None]
        return max(op.start for op in done if op.call in ("encrypt", "decrypt")) - end

    def breaches(self) -> list[str]:
        """See uses.revoked."""
        return revoked(self.ops, self.max_staleness_s)


async def revocation_under_partition(
    world: World,
    nemesis: Nemesis,
    recorder: Recorder,
    max_staleness_s: float,
    told: Callable[[str], None],
    seed: int,
) -> RevocationRun:
    """Raises QkmsError, WaitExpired when the cluster does not do what the run needs of it."""
    run = RevocationRun(recorder.ops, max_staleness_s)
    load = Load(keys=(KEY,), max_staleness=timedelta(seconds=max_staleness_s))
    profile = load_profile(world.cluster.layout.service_profile("payments"))
    node = run.cut_off = world.others(world.observer.wait_leader())[-1]
    majority = {other: profile.endpoints[other] for other in world.others(node)}
    alone = replace(
        profile,
        endpoints={node: profile.endpoints[node]},
        timeout_s=ATTEMPT_S,
        attempt_timeout_s=ATTEMPT_S,
    )
    await create_keys(profile, load, recorder)
    world.observer.wait_agreement()
    rng = random.Random(seed)  # noqa: S311
    async with AsyncClient(replace(profile, endpoints=majority)) as outside, AsyncClient(alone) as inside:
        operator = LoadClient("operator", outside, rng, recorder, load)
        user = LoadClient(f"c0@{node}", inside, rng, recorder, load, node)
        run.begun = time.monotonic()
        await _until(user, run, "the node to use the key", "")
        nemesis.carry_out(Isolate(node))
        if await operator.change("disable", KEY, 1) is not Outcome.OK:
            raise QkmsError(f"keys/{KEY} version 1 could not be disabled: {run.ops[-1]}")
        since = time.monotonic()
        told("the version is disabled")
        while time.monotonic() < since + max_staleness_s + LOOK_ON_S:
            await user.encrypt(KEY, OWN)
            await user.decrypt_any()
        run.refused_with = run.ops[-1].reason
        nemesis.carry_out(HealNetwork())
        run.after_healing = await _until(user, run, "the node to know of the revocation", "VERSION_DISABLED")
    run.disagreement = world.observer.disagreement(HEAL_TIMEOUT_S)
    run.agreed = time.monotonic()
    await last_looks(profile, load, recorder)
    read_records(world.operator, world.nodes, recorder)
    return run


async def _until(user: LoadClient, run: RevocationRun, what: str, reason: str) -> str:
    """Encrypts until that is refused for this reason, "" for no refusal. Raises WaitExpired."""
    deadline = time.monotonic() + HEAL_TIMEOUT_S
    while time.monotonic() < deadline:
        await user.encrypt(KEY, OWN)
        if run.ops[-1].reason == reason:
            return reason
        await asyncio.sleep(POLL_S)
    raise WaitExpired(f"waited {HEAL_TIMEOUT_S:g} s for {what}; last seen: {run.ops[-1]}")
