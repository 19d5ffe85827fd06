"""One client of a load, which does one operation after another: at random, or what it is told to do.

It repeats, under the same request_id, what ended unknown: that the effect was one and the answer the same is for
the checkers to see. Plaintexts are random, so that a fingerprint names each.
"""

import random
import secrets
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from qkms_chaos.checking.history import Outcome, Recorder, Value, fingerprint
from qkms_chaos.workload.caller import Answer, Caller, made_under
from qkms_chaos.workload.load import BOUNDED, LINEARIZABLE, STALE, Load, Named
from qkms_client import AsyncClient, QkmsError

KEPT = 40
"""The newest ciphertexts of a client, of which it opens one at random."""


class Sealed(NamedTuple):
    """A ciphertext, and the fingerprint of what was encrypted."""

    key: str
    version: int
    ciphertext: bytes
    plaintext: str


class LoadClient:
    """`node` is the one that it is bound to. `sealed`: whatever it has encrypted."""

    def __init__(
        self,
        name: str,
        client: AsyncClient,
        rng: random.Random,
        recorder: Recorder,
        load: Load,
        node: str = "",
    ) -> None:
        self._caller = Caller(name, recorder, node)
        self._client = client
        self._rng = rng
        self._load = load
        self._primary: dict[str, int] = {}
        """As last told."""
        self.sealed: list[Sealed] = []
        self._steps: list[tuple[int, Callable[[str], Awaitable[object]]]] = [
            (30, self._encrypt),
            (25, self._decrypt),
            (20, self._get),
            (load.rotate, self.rotate),
            (3, partial(self._change_older, "disable")),
            (3, partial(self._change_older, "enable")),
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
                key, max_staleness=self._load.max_staleness, exportable=True, request_id=identifier
            )
            return {"version": made.primary_version, "replayed": made.replayed}, made.header

        if await self._caller.done("create", key, {"request_id": identifier}, call) is not Outcome.OK:
            raise QkmsError(f"keys/{key} could not be made")

    async def rotate(self, key: str) -> None:
        """In half of the cases from the primary version that it was told last; else it asks for that first."""
        identifier = str(uuid.uuid4())
        expected = self._primary.get(key) if self._rng.random() < 0.5 else None
        if expected is None:
            await self._get(key)
            expected = self._primary.get(key)
        if expected is None:
            return

        async def call() -> Answer:
            done = await self._client.rotate_key(key, expected_primary_version=expected, request_id=identifier)
            self._primary[key] = done.version.version
            return {**made_under(done.version), "replayed": done.replayed}, done.header

        await self._caller.until_known("rotate", key, {"request_id": identifier, "expected": expected}, call)

    async def change(self, name: str, key: str, version: int) -> Outcome:
        """`name`: disable, enable, or destroy, which is done at once."""
        identifier = str(uuid.uuid4())

        async def call() -> Answer:
            match name:
                case "disable":
                    done = await self._client.disable_version(key, version, request_id=identifier)
                case "enable":
                    done = await self._client.enable_version(key, version, request_id=identifier)
                case _:
                    done = await self._client.destroy_version(
                        key, version, grace=timedelta(0), request_id=identifier
                    )
            return {}, done.header

        return await self._caller.until_known(name, key, {"request_id": identifier, "version": version}, call)

    async def get(self, key: str, named: Named) -> None:
        """Reads the key's primary version."""
        level, consistency = named

        async def call() -> Answer:
            found = await self._client.get_key(key, consistency=consistency)
            self._primary[key] = found.primary_version
            return {"primary": found.primary_version}, found.header

        await self._caller.done("get", key, level, call)

    async def encrypt(self, key: str, named: Named) -> Outcome:
        """A key is used no staler than its own bound, whatever level is named."""
        plaintext, (level, consistency) = secrets.token_bytes(16), named
        its_fingerprint = fingerprint(plaintext)

        async def call() -> Answer:
            done = await self._client.encrypt(key, plaintext, consistency=consistency)
            self.sealed.append(Sealed(key, done.version, done.ciphertext, its_fingerprint))
            return {"version": done.version}, done.header

        return await self._caller.done("encrypt", key, {"fingerprint": its_fingerprint, **level}, call)

    async def decrypt(self, sealed: Sealed) -> Outcome:
        """Opens a ciphertext."""

        async def call() -> Answer:
            done = await self._client.decrypt(sealed.key, sealed.ciphertext)
            return {"fingerprint": fingerprint(done.plaintext)}, done.header

        return await self._caller.done("decrypt", sealed.key, opening(sealed), call)

    async def decrypt_any(self) -> None:
        """Opens one of the newest that it has encrypted, if there is any."""
        if self.sealed:
            await self.decrypt(self._rng.choice(self.sealed[-KEPT:]))

    async def _change_older(self, name: str, key: str) -> None:
        """Of a version before the primary one, as far as this client knows."""
        newest = self._primary.get(key, 1)
        if newest >= 2:
            await self.change(name, key, self._rng.randint(max(1, newest - 3), newest - 1))

    async def _get(self, key: str) -> None:
        await self.get(key, self._rng.choices((LINEARIZABLE, BOUNDED, STALE), (5, 3, 2))[0])

    async def _encrypt(self, key: str) -> None:
        await self.encrypt(key, self._rng.choice((LINEARIZABLE, BOUNDED)))

    async def _decrypt(self, _: str) -> None:
        await self.decrypt_any()


def opening(sealed: Sealed) -> dict[str, Value]:
    """The args of its decryption."""
    return {"version": sealed.version, "fingerprint": sealed.plaintext}
