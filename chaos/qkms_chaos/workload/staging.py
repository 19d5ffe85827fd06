"""Clients that stage versions: validated ones are activated, or aborted; some are never validated, and tried.

One in three versions is not validated. Its activation is asked for once every cache from before its staging has
lapsed, so that nothing but the missing evidence stands against it; then it is aborted.
"""

import asyncio
import random
import uuid
from datetime import UTC, datetime

from qkms_chaos.checking.history import Outcome, Value
from qkms_chaos.workload.caller import Answer, Caller
from qkms_client import AsyncClient, QkmsError
from qkms_client.types import KeyVersion

HASTY, ABORTS = 0.33, 0.2
MARGIN_S = 0.3
"""Beyond the time from which on a version can be activated: the clock of the ledger follows that of the nodes."""
PAUSE_S = 0.5


class Stager:
    """Takes one version after another from staging to its end; of a key that nobody else stages versions of."""

    def __init__(self, caller: Caller, client: AsyncClient, rng: random.Random) -> None:
        self._caller = caller
        self._client = client
        self._rng = rng

    async def step(self, key: str, stop: asyncio.Event) -> None:
        """One version of the key; when told to stop it is left as it is."""
        await asyncio.sleep(PAUSE_S)
        staged = await self._stage(key)
        if staged is None:
            await self._clear(key)
            return
        hasty = self._rng.random() < HASTY
        if hasty or await self._change("validate", key, staged.version) is Outcome.OK:
            await _until(staged, stop)
            if stop.is_set():
                return
            if (hasty or self._rng.random() > ABORTS) and await self._activate(key, staged.version) is Outcome.OK:
                return
        await self._change("abort", key, staged.version)

    async def _stage(self, key: str) -> KeyVersion | None:
        identifier, made = str(uuid.uuid4()), list[KeyVersion]()

        async def call() -> Answer:
            staged = await self._client.stage_version(key, request_id=identifier)
            made.append(staged)
            return {"version": staged.version, "replayed": staged.replayed}, staged.header

        await self._caller.until_known("stage", key, {"request_id": identifier}, call)
        return made[-1] if made else None

    async def _clear(self, key: str) -> None:
        """Aborts a version that was staged after all, by an attempt whose outcome nobody told."""
        try:
            left = (await self._client.get_key(key)).staged_version
        except QkmsError:
            return
        if left:
            await self._change("abort", key, left)

    async def _activate(self, key: str, version: int) -> Outcome:
        identifier = str(uuid.uuid4())
        try:
            # While a version is staged, no other becomes primary.
            expected = (await self._client.get_key(key)).primary_version
        except QkmsError:
            return Outcome.REFUSED

        async def call() -> Answer:
            done = await self._client.activate_version(
                key, version, expected_primary_version=expected, request_id=identifier
            )
            answer: dict[str, Value] = {"primary": done.version.version, "replayed": done.replayed}
            return answer | {"already_active": done.already_active}, done.header

        return await self._caller.until_known(
            "activate", key, {"request_id": identifier, "version": version}, call
        )

    async def _change(self, name: str, key: str, version: int) -> Outcome:
        identifier = str(uuid.uuid4())
        method = self._client.validate_version if name == "validate" else self._client.abort_version

        async def call() -> Answer:
            done = await method(key, version, request_id=identifier)
            return {"replayed": done.replayed}, done.header

        return await self._caller.until_known(name, key, {"request_id": identifier, "version": version}, call)


async def _until(staged: KeyVersion, stop: asyncio.Event) -> None:
    """Until the version may be activated, or the client is to stop."""
    after = staged.staging.activate_after_time if staged.staging is not None else None
    left_s = (after - datetime.now(UTC)).total_seconds() if after is not None else 0.0
    try:
        await asyncio.wait_for(stop.wait(), max(0.0, left_s) + MARGIN_S)
    except TimeoutError:
        return
