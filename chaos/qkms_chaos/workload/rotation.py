"""Rotation under load: clients encrypt and decrypt while keys rotate each second, epochs change, a node restarts.

Beside the keys in use, one key has a version staged throughout, which nobody
may use, and one has a version destroyed before the load begins. At the end
every ciphertext of the run is opened at every node. All of it is in the
history, for the checkers; left to this module is that no decryption fails.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from qkms_chaos.checking.history import Op, Outcome, Recorder, Value, fingerprint
from qkms_chaos.checking.key_model import number
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.nemesis import Nemesis
from qkms_chaos.workload.caller import Answer, Caller
from qkms_chaos.workload.clients import create_keys, last_looks
from qkms_chaos.workload.load import LINEARIZABLE, OWN, Load
from qkms_chaos.workload.load_client import LoadClient, Sealed, opening
from qkms_chaos.workload.records import read_records
from qkms_client import AsyncClient, Profile, QkmsError, batch, load_profile
from qkms_client.secret import Decrypted

CLIENTS = 32
KEYS = ("rotating-1", "rotating-2", "rotating-3", "rotating-4")
STAGED, DESTROYED = "with-a-staged-version", "with-a-destroyed-version"
ROTATE_EVERY_S = 1.0
PAUSE_S = 0.05
MAX_STALENESS = timedelta(seconds=1)
LOAD = Load(keys=(*KEYS, STAGED, DESTROYED), max_staleness=MAX_STALENESS)
LEVELS, SHARES = (OWN, LINEARIZABLE), (3, 1)
OPENS_DESTROYED = 0.02
TIMEOUT_S = 20.0
AGREE_S = 30.0
AT_ONCE = 64


@dataclass
class RotationRun:
    """What happened, in `ops`. `disagreement`: why nodes came to no common state in the end; empty: they did.
    Times of time.monotonic."""

    ops: Sequence[Op]
    sealed: list[Sealed] = field(default_factory=list)
    epochs: int = 0
    restarted: str = ""
    disagreement: str = ""
    begun: float = 0.0
    agreed: float = 0.0

    @property
    def rotations(self) -> int:
        """Versions made primary while the load went on."""
        return sum(op.call == "rotate" and op.outcome is Outcome.OK and op.key in KEYS for op in self.ops)

    def breaches(self) -> list[str]:
        """No decryption fails, for whatever reason, but under the version that was destroyed."""
        return [
            f"a decryption failed: {op}"
            for op in self.ops
            if op.call == "decrypt" and op.outcome is not Outcome.OK
            if (op.key, number(op.args.get("version"))) != (DESTROYED, 1)
        ]


async def rotation_under_load(
    world: World, nemesis: Nemesis, recorder: Recorder, seconds: float, told: Callable[[str], None], seed: int
) -> RotationRun:
    """Runs the load for so long, opens all ciphertexts at the end, and looks at every node.

    Raises QkmsError, WaitExpired, ProcessDied.
    """
    run = RotationRun(recorder.ops)
    profile = replace(load_profile(world.cluster.layout.service_profile("payments")), timeout_s=TIMEOUT_S)
    rng = random.Random(seed)  # noqa: S311
    await create_keys(profile, LOAD, recorder)
    async with AsyncClient(profile) as client:
        operator = LoadClient("operator", client, rng, recorder, LOAD)
        old = await _prepare(operator, client, Caller("stager", recorder))
        run.begun = time.monotonic()
        until = run.begun + seconds
        told(f"{CLIENTS} clients for {seconds:g} s")
        try:
            async with asyncio.TaskGroup() as group:
                for number_ in range(CLIENTS):
                    chooses = random.Random(rng.random())  # noqa: S311
                    group.create_task(_client(profile, run, recorder, until, chooses, f"c{number_}", old))
                for key in KEYS:
                    rotator = LoadClient(f"rotator of {key}", client, rng, recorder, LOAD)
                    group.create_task(_rotate(rotator, key, until))
                group.create_task(asyncio.to_thread(_disturb, world, nemesis, run, seconds))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    run.disagreement = await asyncio.to_thread(world.observer.disagreement, AGREE_S)
    run.agreed = time.monotonic()
    for node in world.nodes:
        told(f"opening {len(run.sealed):,} ciphertexts at {node}")
        await _open_all(replace(profile, endpoints={node: profile.endpoints[node]}), node, run, recorder)
    await last_looks(profile, LOAD, recorder)
    await asyncio.to_thread(read_records, world.operator, world.nodes, recorder)
    return run


async def _prepare(operator: LoadClient, client: AsyncClient, stager: Caller) -> Sealed:
    """One key gets a version that is staged, another one a version that is destroyed: what was sealed under it."""
    identifier = str(uuid.uuid4())

    async def stage() -> Answer:
        staged = await client.stage_version(STAGED, request_id=identifier)
        return {"version": staged.version, "replayed": staged.replayed}, staged.header

    ended = [await stager.until_known("stage", STAGED, {"request_id": identifier}, stage)]
    ended.append(await operator.encrypt(DESTROYED, OWN))
    await operator.rotate(DESTROYED)
    ended.append(await operator.change("destroy", DESTROYED, 1))
    if set(ended) != {Outcome.OK}:
        raise QkmsError(f"the keys could not be prepared: {', '.join(ended)}")
    await asyncio.sleep(MAX_STALENESS.total_seconds())
    return operator.sealed[0]


async def _client(
    profile: Profile,
    run: RotationRun,
    recorder: Recorder,
    until: float,
    rng: random.Random,
    name: str,
    old: Sealed,
) -> None:
    async with AsyncClient(profile) as client:
        one = LoadClient(name, client, rng, recorder, LOAD)
        while time.monotonic() < until:
            await one.encrypt(rng.choice(LOAD.keys), rng.choices(LEVELS, SHARES)[0])
            if rng.random() < OPENS_DESTROYED or not one.sealed:
                await one.decrypt(old)
            else:
                await one.decrypt_any()
            await asyncio.sleep(PAUSE_S)
        run.sealed += one.sealed


async def _rotate(rotator: LoadClient, key: str, until: float) -> None:
    while time.monotonic() < until:
        begin = time.monotonic()
        await rotator.rotate(key)
        await asyncio.sleep(max(0.0, begin + ROTATE_EVERY_S - time.monotonic()))


def _disturb(world: World, nemesis: Nemesis, run: RotationRun, seconds: float) -> None:
    """A new root epoch, the restart of a follower, another new epoch."""

    for share, what in ((0.2, "epoch"), (0.45, "restart"), (0.7, "epoch")):
        time.sleep(max(0.0, run.begun + share * seconds - time.monotonic()))
        begin = time.monotonic()
        if what == "epoch":
            nemesis.note(begin, f"root epoch {world.new_root_epoch()} is active")
            run.epochs += 1
        else:
            run.restarted = world.others(world.observer.wait_leader())[0]
            world.cluster.nodes[run.restarted].terminate()
            nemesis.note(begin, f"{run.restarted} has stopped")
            begin = time.monotonic()
            world.cluster.start_members([run.restarted])
            nemesis.note(begin, f"{run.restarted} runs again")


async def _open_all(profile: Profile, node: str, run: RotationRun, recorder: Recorder) -> None:
    """In batches, each place of which is a client of its own to the history."""
    callers = [Caller(f"opener {place}@{node}", recorder, node) for place in range(AT_ONCE)]
    async with AsyncClient(profile) as client:
        for start in range(0, len(run.sealed), AT_ONCE):
            chosen = run.sealed[start : start + AT_ONCE]
            begin = time.monotonic()
            results = await client.batch([batch.decrypt(one.key, one.ciphertext) for one in chosen])
            for caller, one, result in zip(callers, chosen, results, strict=False):
                answered = result if isinstance(result, QkmsError) else (_plaintext(result), result.header)
                caller.note("decrypt", one.key, opening(one), begin, answered)


def _plaintext(result: Decrypted) -> dict[str, Value]:
    return {"fingerprint": fingerprint(result.plaintext)}
