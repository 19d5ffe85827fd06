"""Encryptors while nodes and KMEs are killed: pairs draw and collect at all nodes, and root epochs change.

The encryptors know ETSI GS QKD 014 and nothing of the cluster. They behave as devices do: one in ten collections
is asked for at two nodes at once, some callers hang up before the answer, and who gets none asks another node.
At the end every key_ID that was collected is asked for once more, at some node.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qkms_chaos.checking.history import Recorder
from qkms_chaos.cluster.northbound import TIMEOUT_S, Encryptor, allow, encryptor_of
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.nemesis import Happened, Nemesis
from qkms_chaos.faults.schedule import Revive, Step
from qkms_chaos.workload.deliveries import Attempt, breaches
from qkms_chaos.workload.root_steps import ACTIVATED, root_steps
from qkms_client import Rule

SAES = ("sae:once-1", "sae:once-2")
CLIENTS = 16
MOST_AT_ONCE = 5
ASKS_TWICE = 0.1
HANGS_UP = 0.02
HANGS_UP_AFTER_S = 0.004
GIVES_UP_S = 20.0
TOO_LONG = 10
"""A load that needs so many times its length for its keys is given up."""
PAUSE_S = 0.02
REPLAYED_AT_ONCE = 32


@dataclass
class NorthboundRun:
    """What happened; also in the history, by `recorder`. Times of time.monotonic."""

    recorder: Recorder
    attempts: list[Attempt] = field(default_factory=list)
    replays: list[Attempt] = field(default_factory=list)
    drawn: int = 0
    happened: list[Happened] = field(default_factory=list)
    begun: float = 0.0
    agreed: float = 0.0
    epochs: list[int] = field(default_factory=list)
    """Root epochs that came into use, the last at the latest when all were alive again."""

    def note(self, client: str, pair: str, start: float, one: Attempt) -> None:
        """Keeps an attempt of the load that has ended now."""
        self.attempts.append(one)
        self.recorder.add(one.operation(client, pair, start, time.monotonic()))

    def given(self, kind: str) -> set[str]:
        """Key_IDs that were given out by "draw" or "collect"."""
        return {key_id for one in self.attempts if one.kind == kind for key_id in one.keys}

    @property
    def reported(self) -> set[str]:
        """Key_IDs that were drawn and did not reach the slave, after an attempt that said so or said nothing."""
        return self.given("draw") - self.given("collect")

    def breaches(self) -> list[str]:
        """See deliveries.breaches; and a replay that is answered with a key, or otherwise than "not found"."""
        wrong = [f"a replay at {one.node} was answered {one.status}" for one in self.replays if one.status != 400]
        return breaches(self.attempts) + wrong


async def northbound_once(
    world: World,
    nemesis: Nemesis,
    recorder: Recorder,
    turns: Sequence[Sequence[Step]],
    seconds: float,
    least: int,
    told: Callable[[str], None],
    seed: int,
) -> NorthboundRun:
    """Runs the load for so long, for `least` keys, and until the last turn of faults; then waits for a new root.

    Raises TimeoutError, WaitExpired, ProcessDied, QkmsError.
    """
    run = NorthboundRun(recorder)
    first, second = SAES
    pairs = tuple(f"saePairs/{master}/{slave}" for master, slave in ((first, second), (second, first)))
    await asyncio.to_thread(allow, world, "northbound-once", [Rule(("northbound.*",), pairs)], *SAES)
    before = (await asyncio.to_thread(world.observer.wait_agreement)).root
    assert before is not None
    rng = random.Random(seed)  # noqa: S311
    run.begun = time.monotonic()

    async with encryptor_of(world, first) as one, encryptor_of(world, second) as other:
        told(f"{CLIENTS} clients for {seconds:g} s")
        try:
            async with asyncio.TaskGroup() as group:
                faults = group.create_task(asyncio.to_thread(_disturb, nemesis, turns))

                def enough() -> bool:
                    lasted = time.monotonic() - run.begun
                    if lasted > TOO_LONG * seconds:
                        raise TimeoutError(f"{run.drawn} of {least} keys were drawn in {lasted:.0f} s")
                    return lasted > seconds and run.drawn >= least and faults.done()

                for number in range(CLIENTS):
                    master, slave = (one, other) if number % 2 else (other, one)
                    chooses = random.Random(rng.random())  # noqa: S311
                    group.create_task(_pair(run, f"c{number}", world.nodes, master, slave, enough, chooses))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        await asyncio.to_thread(nemesis.carry_out, Revive())
        run.happened = nemesis.happened
        await asyncio.to_thread(world.observer.wait_agreement)
        run.agreed = time.monotonic()
        await asyncio.to_thread(world.observer.wait_root, before.epoch + 1)
        told(f"asking once more for {len(run.given('collect')):,} key_IDs")
        await _replay(run, world.nodes, one, other, rng)
    steps_of_root = await asyncio.to_thread(root_steps, world)
    run.epochs = [s.epoch for s in steps_of_root if s.what == ACTIVATED and s.epoch > before.epoch]
    return run


def _disturb(nemesis: Nemesis, turns: Sequence[Sequence[Step]]) -> None:
    for steps in turns:
        nemesis.run(steps)


async def _pair(
    run: NorthboundRun,
    client: str,
    nodes: tuple[str, ...],
    master: Encryptor,
    slave: Encryptor,
    enough: Callable[[], bool],
    rng: random.Random,
) -> None:
    while not enough():
        node = rng.choice(nodes)
        number = rng.randint(1, MOST_AT_ONCE)
        start = time.monotonic()
        drawn = await master.draw(node, slave.sae, patience_s=_patience_s(rng), number=number, size=256)
        attempt = Attempt(master.sae, "draw", node, (), drawn.status, drawn.said, drawn.keys)
        run.note(client, f"{master.sae}/{slave.sae}", start, attempt)
        run.drawn += len(drawn.keys)
        if drawn.keys:
            await _collect(run, client, nodes, slave, master.sae, tuple(drawn.keys), rng)
        await asyncio.sleep(PAUSE_S)


async def _collect(
    run: NorthboundRun,
    client: str,
    nodes: tuple[str, ...],
    slave: Encryptor,
    master: str,
    key_ids: tuple[str, ...],
    rng: random.Random,
) -> None:
    """Asks until the keys came or are said not to be there."""
    gives_up = time.monotonic() + GIVES_UP_S
    while time.monotonic() < gives_up:
        chosen = rng.sample(nodes, 2 if rng.random() < ASKS_TWICE else 1)
        start = time.monotonic()
        answers = await asyncio.gather(
            *(slave.collect(node, master, *key_ids, patience_s=_patience_s(rng)) for node in chosen)
        )
        for node, answer in zip(chosen, answers, strict=True):
            attempt = Attempt(slave.sae, "collect", node, key_ids, answer.status, answer.said, answer.keys)
            run.note(client, f"{master}/{slave.sae}", start, attempt)
        if any(answer.status in (200, 400) for answer in answers):
            return
        await asyncio.sleep(PAUSE_S)


def _patience_s(rng: random.Random) -> float:
    """How long a caller waits for an answer; some hang up."""
    return HANGS_UP_AFTER_S if rng.random() < HANGS_UP else TIMEOUT_S


async def _replay(
    run: NorthboundRun, nodes: tuple[str, ...], one: Encryptor, other: Encryptor, rng: random.Random
) -> None:
    limit = asyncio.Semaphore(REPLAYED_AT_ONCE)
    collected = run.given("collect")
    masters = {key_id: a.sae for a in run.attempts if a.kind == "draw" for key_id in a.keys if key_id in collected}

    async def ask(node: str, key_id: str, master: str) -> None:
        slave = other if master == one.sae else one
        async with limit:
            answer = await slave.collect(node, master, key_id)
        run.replays.append(Attempt(slave.sae, "collect", node, (key_id,), answer.status, answer.said, answer.keys))

    await asyncio.gather(*(ask(rng.choice(nodes), key_id, master) for key_id, master in masters.items()))
