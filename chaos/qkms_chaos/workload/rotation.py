"""Rotation under load: clients encrypt and decrypt while keys rotate each second, epochs change, a node restarts.

Beside the keys in use, one key has a version staged throughout, which nobody
may use, and one has a version destroyed before the load begins. At the end
every ciphertext of the run is opened at every node.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from qkms_chaos.cluster.world import World
from qkms_chaos.workload.history import Change, Did, Outcome, Use, breaches
from qkms_client import AsyncClient, Profile, QkmsError, batch, load_profile
from qkms_client.errors import OutcomeUnknown
from qkms_client.secret import Decrypted

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
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    chooses = random.Random(rng.random())  # noqa: S311
                    group.create_task(_client(profile, run, until, chooses, number, old))
                for key in KEYS:
                    group.create_task(_rotate(operator, run, key, until))
                group.create_task(asyncio.to_thread(_disturb, world, run, seconds, told))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    await asyncio.to_thread(world.observer.wait_agreement)
    for node in world.nodes:
        told(f"opening {len(run.sealed):,} ciphertexts at {node}")
        await _open_all(replace(profile, endpoints={node: profile.endpoints[node]}), run)
    return run


async def _prepare(operator: AsyncClient, run: RotationRun) -> Sealed:
    for key in (*KEYS, STAGED, DESTROYED):
        await _change(run, key, 1, Did.ACTIVATE, operator.create_key(key, max_staleness=MAX_STALENESS))
    await _change(run, STAGED, 2, Did.STAGE, operator.stage_version(STAGED))
    old = (DESTROYED, 1, b"gone", (await operator.encrypt(DESTROYED, b"gone")).ciphertext)
    await _change(run, DESTROYED, 2, Did.ACTIVATE, operator.rotate_key(DESTROYED))
    await _change(run, DESTROYED, 1, Did.DESTROY, operator.destroy_version(DESTROYED, 1, grace=timedelta(0)))
    await asyncio.sleep(MAX_STALENESS.total_seconds())
    return old


async def _change(run: RotationRun, key: str, version: int, did: Did, work: Awaitable[object]) -> None:
    begin = time.monotonic()
    await work
    run.changes.append(Change(key, version, did, begin, time.monotonic()))


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
    key, _, _, ciphertext = sealed
    begin = time.monotonic()
    try:
        result: Decrypted | QkmsError = await client.decrypt(key, ciphertext, timeout=TIMEOUT_S)
    except QkmsError as error:
        result = error
    run.uses.append(_decrypted(sealed, result, begin))


def _decrypted(sealed: Sealed, result: Decrypted | QkmsError, begin: float) -> Use:
    key, version, plaintext, _ = sealed
    if isinstance(result, QkmsError):
        return Use(key, version, "decrypt", begin, time.monotonic(), _outcome(result), result.reason)
    outcome = Outcome.OK if result.plaintext == plaintext else Outcome.WRONG
    return Use(key, version, "decrypt", begin, time.monotonic(), outcome)


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
            told(f"root epoch {world.new_root_epoch()} is active")
            run.epochs += 1
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
            run.uses += [_decrypted(one, result, begin) for one, result in zip(chosen, results, strict=True)]
