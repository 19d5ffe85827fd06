"""Rotation under load: clients encrypt and decrypt while keys rotate each second, epochs change, a node restarts.

Beside the keys in use, one key has a version staged throughout, which nobody
may use, and one has a version destroyed before the load begins. At the end
every ciphertext of the run is opened at every node.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from qkms_chaos.cluster.world import World
from qkms_chaos.workload.history import Change, Did, Outcome, Use, breaches
from qkms_client import AsyncClient, Profile, QkmsError, batch, load_profile
from qkms_client.errors import OutcomeUnknown

CLIENTS = 32
KEYS = ("rotating-1", "rotating-2", "rotating-3", "rotating-4")
STAGED, DESTROYED = "with-a-staged-version", "with-a-destroyed-version"
ROTATE_EVERY_S = 1.0
PAUSE_S = 0.05
MAX_STALENESS = timedelta(seconds=1)
TIMEOUT_S = 20.0
AT_ONCE = 64
KEPT = 50
"""Ciphertexts that a client may open again; each keeps all of them for the end."""

Sealed = tuple[str, int, bytes, bytes]
"""Key, version, plaintext, ciphertext."""


@dataclass
class RotationRun:
    """What happened."""

    uses: list[Use] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    sealed: list[Sealed] = field(default_factory=list)
    epochs: int = 0
    restarted: str = ""
    seconds: float = 0.0

    @property
    def rotations(self) -> int:
        """Versions made primary while the load went on."""
        return sum(c.did is Did.ACTIVATE and c.version > 1 and c.key in KEYS for c in self.changes)

    def breaches(self) -> list[str]:
        """See history.breaches."""
        return breaches(self.uses, self.changes, MAX_STALENESS.total_seconds())


async def rotation_under_load(world: World, seconds: float, told: Callable[[str], None], seed: int) -> RotationRun:
    """Runs the load for so long, and opens all ciphertexts at the end. Raises QkmsError, WaitExpired."""
    run = RotationRun()
    profile = load_profile(world.cluster.layout.service_profile("payments"))
    rng = random.Random(seed)  # noqa: S311
    async with AsyncClient(profile) as operator:
        old = await _prepare(operator, run)
        until = time.monotonic() + seconds
        told(f"{CLIENTS} clients for {seconds:g} s")
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(_client(profile, run, until, random.Random(rng.random()), number, old))  # noqa: S311
            for key in KEYS:
                group.create_task(_rotate(operator, run, key, until))
            group.create_task(asyncio.to_thread(_disturb, world, run, seconds, told))
        run.seconds = seconds
    await asyncio.to_thread(world.observer.wait_agreement)
    for node in world.nodes:
        told(f"opening {len(run.sealed):,} ciphertexts at {node}")
        await _open_all(replace(profile, endpoints={node: profile.endpoints[node]}), run)
    return run


async def _prepare(operator: AsyncClient, run: RotationRun) -> Sealed:
    for key in (*KEYS, STAGED, DESTROYED):
        begin = time.monotonic()
        await operator.create_key(key, max_staleness=MAX_STALENESS)
        run.changes.append(Change(key, 1, Did.ACTIVATE, begin, time.monotonic()))
    begin = time.monotonic()
    await operator.stage_version(STAGED)
    run.changes.append(Change(STAGED, 2, Did.STAGE, begin, time.monotonic()))
    old = (DESTROYED, 1, b"gone", (await operator.encrypt(DESTROYED, b"gone")).ciphertext)
    begin = time.monotonic()
    await operator.rotate_key(DESTROYED)
    run.changes.append(Change(DESTROYED, 2, Did.ACTIVATE, begin, time.monotonic()))
    begin = time.monotonic()
    await operator.destroy_version(DESTROYED, 1, grace=timedelta(0))
    run.changes.append(Change(DESTROYED, 1, Did.DESTROY, begin, time.monotonic()))
    await asyncio.sleep(MAX_STALENESS.total_seconds())
    return old


async def _client(
    profile: Profile, run: RotationRun, until: float, rng: random.Random, number: int, old: Sealed
) -> None:
    mine: list[Sealed] = []
    async with AsyncClient(profile) as client:
        while time.monotonic() < until:
            key = rng.choice((*KEYS, STAGED, DESTROYED))
            plaintext = f"{number} {rng.random()}".encode()
            sealed = await _encrypt(client, run, key, plaintext)
            if sealed is not None:
                mine.append(sealed)
                run.sealed.append(sealed)
            await _decrypt(client, run, old if rng.random() < 0.02 else rng.choice(mine[-KEPT:] or [old]))
            await asyncio.sleep(PAUSE_S)


async def _encrypt(client: AsyncClient, run: RotationRun, key: str, plaintext: bytes) -> Sealed | None:
    begin = time.monotonic()
    try:
        done = await client.encrypt(key, plaintext, timeout=TIMEOUT_S)
    except QkmsError as error:
        run.uses.append(Use(key, 0, "encrypt", begin, time.monotonic(), _outcome(error), error.reason))
        return None
    run.uses.append(Use(key, done.version, "encrypt", begin, time.monotonic(), Outcome.OK))
    return key, done.version, plaintext, done.ciphertext


async def _decrypt(client: AsyncClient, run: RotationRun, sealed: Sealed) -> None:
    key, version, plaintext, ciphertext = sealed
    begin = time.monotonic()
    try:
        opened = await client.decrypt(key, ciphertext, timeout=TIMEOUT_S)
        outcome, reason = Outcome.OK if opened.plaintext == plaintext else Outcome.WRONG, ""
    except QkmsError as error:
        outcome, reason = _outcome(error), error.reason
    run.uses.append(Use(key, version, "decrypt", begin, time.monotonic(), outcome, reason))


def _outcome(error: QkmsError) -> Outcome:
    return Outcome.UNKNOWN if isinstance(error, OutcomeUnknown) else Outcome.REFUSED


async def _rotate(operator: AsyncClient, run: RotationRun, key: str, until: float) -> None:
    while time.monotonic() < until:
        begin = time.monotonic()
        rotation = await operator.rotate_key(key, timeout=TIMEOUT_S)
        run.changes.append(Change(key, rotation.version.version, Did.ACTIVATE, begin, time.monotonic()))
        await asyncio.sleep(max(0.0, begin + ROTATE_EVERY_S - time.monotonic()))


def _disturb(world: World, run: RotationRun, seconds: float, told: Callable[[str], None]) -> None:
    """A new root epoch, the restart of a follower, another new epoch."""
    begun = time.monotonic()
    for share, what in ((0.2, "epoch"), (0.45, "restart"), (0.7, "epoch")):
        time.sleep(max(0.0, begun + share * seconds - time.monotonic()))
        if what == "epoch":
            root = world.operator.status().root
            assert root is not None
            world.operator.rotate_root(expected_epoch=root.epoch)
            world.observer.wait_root(root.epoch + 1)
            run.epochs += 1
            told(f"root epoch {root.epoch + 1} is active")
        else:
            run.restarted = world.others(world.observer.wait_leader())[0]
            world.cluster.nodes[run.restarted].terminate()
            world.cluster.start_members([run.restarted])
            told(f"{run.restarted} has restarted")


async def _open_all(profile: Profile, run: RotationRun) -> None:
    async with AsyncClient(profile) as client:
        for start in range(0, len(run.sealed), AT_ONCE):
            chosen = run.sealed[start : start + AT_ONCE]
            begin = time.monotonic()
            results = await client.batch(
                [batch.decrypt(key, sealed) for key, _, _, sealed in chosen], timeout=TIMEOUT_S
            )
            end = time.monotonic()
            for (key, version, plaintext, _), result in zip(chosen, results, strict=True):
                if isinstance(result, QkmsError):
                    use = Use(key, version, "decrypt", begin, end, _outcome(result), result.reason)
                else:
                    right = result.plaintext == plaintext
                    use = Use(key, version, "decrypt", begin, end, Outcome.OK if right else Outcome.WRONG)
                run.uses.append(use)
