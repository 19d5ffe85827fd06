"""Clients that watch: each closes its watch now and then, and takes up where it was, by token, at another node.

What is told goes into the history as it comes. After the load a last event is made, which each watch has to come
to: so it is known up to where it must be complete.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from qkms_chaos.checking.history import Op, Outcome, Recorder, Value
from qkms_client import AsyncClient, Profile, QkmsError
from qkms_client.aio.watch import AsyncKeyWatch
from qkms_client.errors import HistoryCompacted
from qkms_client.types import KeyEvent
from qkms_node.service.watching import revision_of

LASTS_S = (0.5, 4.0)
PAUSE_S = 0.3
BEGIN_S = 1.0
FINISH_S = 20.0


class Watcher:
    """One client that watches every key that it may see; `name` in the history."""

    def __init__(self, name: str, profile: Profile, rng: random.Random, recorder: Recorder) -> None:
        self._name = name
        self._profile = profile
        self._rng = rng
        self._recorder = recorder
        self._token: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Watches, one watch after another, until told to stop. Raises nothing of what the cluster answers."""
        while not stop.is_set():
            await self._watch(self._rng.uniform(*LASTS_S), stop)
            await asyncio.sleep(self._rng.uniform(0, PAUSE_S))

    async def begin(self, endpoints: Mapping[str, str]) -> None:
        """Sees to it that there is a watch to take up, at these endpoints, if the cluster lets it."""
        self._profile = replace(self._profile, endpoints=dict(endpoints))
        until = time.monotonic() + FINISH_S
        while self._token is None and time.monotonic() < until:
            await self._watch(BEGIN_S, asyncio.Event())

    async def finish(self, last: str) -> None:
        """Watches on until told of the key `last`, and writes down whether it was; unknown: nothing to take up."""
        start, told = time.monotonic(), False
        while not told and self._token is not None and time.monotonic() < start + FINISH_S:
            told = await self._watch(FINISH_S, asyncio.Event(), last)
        missed = Outcome.UNKNOWN if self._token is None else Outcome.REFUSED
        self._note("watched", start, {}, outcome=Outcome.OK if told else missed, reason="" if told else "NOT_TOLD")

    async def _watch(self, lasts_s: float, stop: asyncio.Event, last: str = "") -> bool:
        """One watch, for so long or until `last` was told of: whether it was."""
        start, resumed = time.monotonic(), self._token is not None
        profile = replace(self._profile, endpoints=_shuffled(self._profile.endpoints, self._rng))
        async with AsyncClient(profile) as client:
            watch = client.watch_keys(resume_token=self._token, give_up_after=lasts_s)
            ending = asyncio.create_task(_close(watch, lasts_s, stop))
            try:
                await watch.open()
                if watch.resume_token is None:
                    return False
                after = revision_of(watch.resume_token)
                self._note("watch", start, {"resumed": resumed}, {"after": after})
                async for event in watch:
                    self._told(event)
                    if event.name == f"keys/{last}":
                        return True
            except QkmsError as error:
                self._note("watch", start, {"resumed": resumed}, outcome=Outcome.REFUSED, reason=error.reason)
                if isinstance(error, HistoryCompacted):
                    self._token = None
                    return False
            finally:
                ending.cancel()
                watch.close()
            self._token = watch.resume_token
        return False

    def _told(self, event: KeyEvent) -> None:
        answer: dict[str, Value] = {"revision": event.revision, "type": event.type.name, "version": event.version}
        now, name = time.monotonic(), event.name.removeprefix("keys/")
        answer["state"] = int(event.state)
        self._recorder.add(Op(self._name, "event", name, now, now, Outcome.OK, {}, answer))

    def _note(
        self,
        call: str,
        start: float,
        args: dict[str, Value],
        answer: dict[str, Value] | None = None,
        outcome: Outcome = Outcome.OK,
        reason: str = "",
    ) -> None:
        op = Op(self._name, call, "", start, time.monotonic(), outcome, args, answer or {}, reason)
        self._recorder.add(op)


async def begin_all(watchers: Sequence[Watcher], endpoints: Mapping[str, str]) -> None:
    """`begin` of each."""
    await asyncio.gather(*(watcher.begin(endpoints) for watcher in watchers))


async def finish_all(watchers: Sequence[Watcher], last: str) -> None:
    """`finish` of each."""
    await asyncio.gather(*(watcher.finish(last) for watcher in watchers))


async def _close(watch: AsyncKeyWatch, after_s: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), after_s)
    watch.close()


def _shuffled(endpoints: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    nodes = list(endpoints)
    rng.shuffle(nodes)
    return {node: endpoints[node] for node in nodes}
