"""Clients that create, rotate, disable, use and read a few keys at random, and write down what they were told.

Roaming clients know every node; bound ones know one node only, so that both sides of a partition are used. A
client does one operation after another. It repeats, under the same request_id, what ended unknown: that the
effect was one and the answer the same is for the checkers to see. Plaintexts are random, so that a fingerprint
names each.
"""

import asyncio
import random
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from qkms_chaos.checking.history import Outcome, Recorder, Value, fingerprint
from qkms_chaos.workload.caller import Answer, Caller, made_under
from qkms_chaos.workload.staging import Stager
from qkms_chaos.workload.watching import Watcher
from qkms_client import AsyncClient, Consistency, Profile, QkmsError, bounded, linearizable
from qkms_client.consistency import STALE_OK

MAX_STALENESS = timedelta(seconds=2)
TIMEOUT_S = 2.5
BOUND_TIMEOUT_S = 1.0
"""Of a client of one node, which has nowhere else to go."""
PAUSE_S = 0.02
KEPT = 40

Named = tuple[dict[str, Value], Consistency]
LINEARIZABLE: Named = ({"level": "linearizable"}, linearizable())
BOUNDED: Named = ({"level": "bounded", "bound_ms": 1000}, bounded(timedelta(seconds=1)))
STALE: Named = ({"level": "stale_ok"}, STALE_OK)


@dataclass(frozen=True)
class Load:
    """Who does how much to what."""

    keys: tuple[str, ...] = ("chaos-1", "chaos-2", "chaos-3")
    roaming: int = 6
    bound: int = 2
    """For each node."""
    rotate: int = 12
    """The share of rotations; of the other operations together there are 81."""
    staged: tuple[str, ...] = ()
    """Of the keys, those of which a client of its own stages versions."""
    watchers: int = 1
    seed: int = 1


@dataclass
class _State:
    """What one client remembers: primaries as last told, and ciphertexts to open."""

    primary: dict[str, int] = field(default_factory=dict)
    sealed: list[tuple[str, int, bytes, str]] = field(default_factory=list)


async def create_keys(profile: Profile, load: Load, recorder: Recorder) -> None:
    """The keys of the load, before any fault. Raises QkmsError."""
    async with AsyncClient(profile) as client:
        operator = _Client("setup", client, random.Random(load.seed), recorder, load, "")  # noqa: S311
        for key in load.keys:
            await operator.create(key)


async def last_looks(profile: Profile, node: str, load: Load, recorder: Recorder) -> None:
    """Reads every key at the one node of the profile, as it is and as it must be."""
    async with AsyncClient(profile) as client:
        one = _Client(f"end@{node}", client, random.Random(load.seed), recorder, load, node)  # noqa: S311
        for key in load.keys:
            for named, consistency in (LINEARIZABLE, STALE):
                await one.get(key, named, consistency)


def watchers_of(profile: Profile, load: Load, recorder: Recorder) -> list[Watcher]:
    """Those of the load, who go on after it."""
    roams = replace(profile, timeout_s=TIMEOUT_S, attempt_timeout_s=TIMEOUT_S / 2)
    return [
        Watcher(f"watcher-{number}", roams, random.Random(f"{load.seed} {number}"), recorder)  # noqa: S311
        for number in range(1, load.watchers + 1)
    ]


async def run_clients(
    profile: Profile, load: Load, watchers: Sequence[Watcher], recorder: Recorder, seconds: float
) -> None:
    """Runs every client for so long. Raises nothing of what the cluster answers."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    rng = random.Random(load.seed)  # noqa: S311
    places = ["" for _ in range(load.roaming)]
    places += [node for node in profile.endpoints for _ in range(load.bound)]
    async with asyncio.TaskGroup() as group:
        for number, node in enumerate(places):
            name = f"c{number}" + (f"@{node}" if node else "")
            endpoints = {node: profile.endpoints[node]} if node else _rotated(profile, rng)
            time_s = BOUND_TIMEOUT_S if node else TIMEOUT_S
            own = replace(profile, endpoints=endpoints, timeout_s=time_s, attempt_timeout_s=time_s / 2)
            group.create_task(_run(own, name, random.Random(rng.random()), recorder, load, node, stop))  # noqa: S311
        roams = replace(profile, timeout_s=TIMEOUT_S, attempt_timeout_s=TIMEOUT_S / 2)
        for watcher in watchers:
            group.create_task(watcher.run(stop))
        for key in load.staged:
            chooses = random.Random(rng.random())  # noqa: S311
            group.create_task(_stage(roams, key, chooses, Caller(f"stager of {key}", recorder), stop))


def _rotated(profile: Profile, rng: random.Random) -> dict[str, str]:
    nodes = list(profile.endpoints)
    rng.shuffle(nodes)
    return {node: profile.endpoints[node] for node in nodes}


async def _run(
    profile: Profile,
    name: str,
    rng: random.Random,
    recorder: Recorder,
    load: Load,
    node: str,
    stop: asyncio.Event,
) -> None:
    async with AsyncClient(profile) as client:
        one = _Client(name, client, rng, recorder, load, node)
        while not stop.is_set():
            await one.step()
            await asyncio.sleep(PAUSE_S * rng.uniform(0.5, 1.5))


async def _stage(profile: Profile, key: str, rng: random.Random, caller: Caller, stop: asyncio.Event) -> None:
    async with AsyncClient(profile) as client:
        stager = Stager(caller, client, rng)
        while not stop.is_set():
            await stager.step(key, stop)


class _Client:
    """One client; `node` is the one it is bound to."""

    def __init__(
        self,
        name: str,
        client: AsyncClient,
        rng: random.Random,
        recorder: Recorder,
        load: Load,
        node: str,
    ) -> None:
        self._caller = Caller(name, recorder, node)
        self._client = client
        self._rng = rng
        self._load = load
        self._state = _State()
        self._steps: list[tuple[int, Callable[[str], Awaitable[None]]]] = [
            (30, self._encrypt),
            (25, self._decrypt),
            (20, self._get),
            (load.rotate, self._rotate),
            (3, self._disable),
            (3, self._enable),
        ]

    async def step(self) -> None:
        """One operation on one key."""
        weights = [weight for weight, _ in self._steps]
        [(_, do)] = self._rng.choices(self._steps, weights)
        await do(self._rng.choice(self._load.keys))

    async def create(self, key: str) -> None:
        """Makes the key. Raises QkmsError."""
        identifier = str(uuid.uuid4())

        async def call() -> Answer:
            made = await self._client.create_key(
                key, max_staleness=MAX_STALENESS, exportable=True, request_id=identifier
            )
            return {"version": made.primary_version, "replayed": made.replayed}, made.header

        if await self._caller.done("create", key, {"request_id": identifier}, call) is not Outcome.OK:
            raise QkmsError(f"keys/{key} could not be made")

    async def _rotate(self, key: str) -> None:
        identifier = str(uuid.uuid4())
        expected = self._state.primary.get(key) if self._rng.random() < 0.5 else None
        if expected is None:
            expected = await self._primary(key)
        if expected is None:
            return

        async def call() -> Answer:
            done = await self._client.rotate_key(key, expected_primary_version=expected, request_id=identifier)
            self._state.primary[key] = done.version.version
            return {**made_under(done.version), "replayed": done.replayed}, done.header

        await self._caller.until_known("rotate", key, {"request_id": identifier, "expected": expected}, call)

    async def _disable(self, key: str) -> None:
        await self._change(key, "disable", self._client.disable_version)

    async def _enable(self, key: str) -> None:
        await self._change(key, "enable", self._client.enable_version)

    async def _change(self, key: str, call_name: str, method: Callable[..., Awaitable[object]]) -> None:
        """Of a version before the primary one, as far as this client knows."""
        newest = self._state.primary.get(key, 1)
        if newest < 2:
            return
        identifier, version = str(uuid.uuid4()), self._rng.randint(max(1, newest - 3), newest - 1)

        async def call() -> Answer:
            done = await method(key, version, request_id=identifier)
            return {}, getattr(done, "header", None)

        await self._caller.until_known(call_name, key, {"request_id": identifier, "version": version}, call)

    async def _primary(self, key: str) -> int | None:
        await self._get(key)
        return self._state.primary.get(key)

    async def _get(self, key: str) -> None:
        await self.get(key, *self._level())

    async def get(self, key: str, level: dict[str, Value], consistency: Consistency) -> None:
        """Reads the key's primary version."""

        async def call() -> Answer:
            found = await self._client.get_key(key, consistency=consistency)
            self._state.primary[key] = found.primary_version
            return {"primary": found.primary_version}, found.header

        await self._caller.done("get", key, level, call)

    async def _encrypt(self, key: str) -> None:
        plaintext = secrets.token_bytes(16)
        named = fingerprint(plaintext)
        # A key is used no staler than its own bound, whatever level is named.
        level, consistency = self._rng.choice((LINEARIZABLE, BOUNDED))

        async def call() -> Answer:
            done = await self._client.encrypt(key, plaintext, consistency=consistency)
            self._state.sealed = [*self._state.sealed[-KEPT:], (key, done.version, done.ciphertext, named)]
            return {"version": done.version}, done.header

        await self._caller.done("encrypt", key, {"fingerprint": named, **level}, call)

    async def _decrypt(self, _: str) -> None:
        if not self._state.sealed:
            return
        key, version, ciphertext, named = self._rng.choice(self._state.sealed)

        async def call() -> Answer:
            done = await self._client.decrypt(key, ciphertext)
            return {"fingerprint": fingerprint(done.plaintext)}, done.header

        await self._caller.done("decrypt", key, {"version": version, "fingerprint": named}, call)

    def _level(self) -> Named:
        return self._rng.choices((LINEARIZABLE, BOUNDED, STALE), (5, 3, 2))[0]
