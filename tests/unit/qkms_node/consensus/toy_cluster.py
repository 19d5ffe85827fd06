"""Drives a cluster of toy members, each a process of its own with real TLS, from a test."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from qkms_chaos.faults.faulty_disk import FaultyDisk

T = TypeVar("T")
MEMBER = Path(__file__).with_name("toy_member.py")
# structlog imports rich where it is installed, which takes half of a member's start.
START = "import runpy, sys; sys.modules['rich'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


class Refused(Exception):
    """A call ended with an error of the replica; the first argument is its code."""


class ToyMember:
    """One process; `start` after `kill` begins it anew on the same data.

    `disk`: what stands between the process and its data, if anything does.
    `fatal`: the code and text with which the engine of this process stopped itself.
    """

    def __init__(self, config: Path, node_id: str, disk: FaultyDisk | None = None) -> None:
        self.config = config
        self.id = node_id
        self._disk = disk
        self.fatal: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._reader: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None

    @property
    def disk(self) -> FaultyDisk:
        assert self._disk is not None
        return self._disk

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        message = await self.try_start()
        assert message == {"started": True}, message

    async def try_start(self) -> dict[str, Any]:
        """The first line of a new process: started, or why not; nothing when it died before it said one."""
        environment = {**os.environ, **(self._disk.environment if self._disk else {})}
        self.fatal = asyncio.get_running_loop().create_future()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            START,
            str(MEMBER),
            str(self.config),
            stdin=-1,
            stdout=-1,
            limit=2**26,
            env=environment,
        )
        assert self._process.stdout is not None
        message: dict[str, Any] = json.loads(await self._process.stdout.readline() or "{}")
        self._reader = asyncio.create_task(self._read(self._process))
        return message

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            if "fatal" in message:
                self.fatal.set_result((message["fatal"], message["text"]))
                continue
            call = self._calls.pop(message["call"])
            if call.done():
                continue
            if "error" in message:
                call.set_exception(Refused(message["error"], message["text"]))
            else:
                call.set_result(message["value"])
        for call in self._calls.values():
            if not call.done():
                call.set_exception(Refused("GONE", self.id))
        self._calls.clear()

    async def call(self, do: str, **arguments: Any) -> Any:
        if self._process is None or self._process.stdin is None or self._reader is None or self._reader.done():
            raise Refused("GONE", self.id)
        self._number += 1
        future = self._calls[self._number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"call": self._number, "do": do, **arguments}).encode() + b"\n")
        return await future

    async def propose(self, command: str, within_s: float = 10) -> str:
        return str(await self.call("propose", command=command, within_s=within_s))

    async def barrier(self, within_s: float = 10) -> int:
        return int(await self.call("barrier", within_s=within_s))

    async def change(self, kind: str, member: str, address: str | None = None, within_s: float = 10) -> list[str]:
        """The voters after the change, tried until it is possible."""

        async def done() -> list[str] | None:
            try:
                voters = await self.call("change", kind=kind, member=member, address=address, within_s=within_s)
            except Refused as refused:
                if refused.args[0] in ("NOT_COMMITTED", "OUTCOME_UNKNOWN"):
                    return None
                raise
            return list(voters)

        return await eventually(done)

    async def status(self) -> dict[str, Any]:
        return dict(await self.call("status"))

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        """What the process logged, over all its lives."""
        return self.config.with_suffix(".log").read_text()

    async def kill(self) -> None:
        """kill -9, as if the process had never a chance to do anything more."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it ended by itself meanwhile
                self._process.kill()
            await self._gone()

    async def died(self, within_s: float) -> bool:
        """Whether the process ended by itself in this time; then it is as after `kill`."""
        assert self._process is not None
        try:
            await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            return False
        await self._gone()
        return True

    async def stop(self) -> None:
        """Ends the process the regular way."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._gone()

    async def _gone(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        await process.wait()
        if self._reader is not None:
            await self._reader


class ToyCluster:
    """All members."""

    def __init__(self, members: list[ToyMember]) -> None:
        self.members = {member.id: member for member in members}

    async def start(self) -> None:
        """Returns when every member has heard a leader's first entry: a founder that
        has not cannot take part in electing another (a newcomer votes only to found)."""
        await asyncio.gather(*(member.start() for member in self.members.values()))
        await asyncio.gather(*(member.barrier(within_s=60) for member in self.members.values()))

    def besides(self, *members: ToyMember) -> list[ToyMember]:
        """The others."""
        return [member for member in self.members.values() if member not in members]

    @property
    def alive(self) -> list[ToyMember]:
        return [member for member in self.members.values() if member.alive]

    async def leader(self, besides: str | None = None) -> ToyMember:
        """The member that all living ones follow."""

        async def found() -> ToyMember | None:
            statuses = await asyncio.gather(*(member.status() for member in self.alive))
            leaders = {status["leader"] for status in statuses}
            leader = leaders.pop() if len(leaders) == 1 else None
            return None if leader in (None, besides) else self.members[leader]

        return await eventually(found)

    async def agreed(self) -> dict[str, Any]:
        """The status of any member once all living ones applied the same and are equal.

        Behind a barrier on each: members just restarted may agree on what is not yet all.
        """
        await asyncio.gather(*(member.barrier(within_s=60) for member in self.alive))

        async def same() -> dict[str, Any] | None:
            statuses = await asyncio.gather(*(member.status() for member in self.alive))
            views = {(s["applied"], s["commit"], s["digest"], s["leader"]) for s in statuses}
            return statuses[0] if len(views) == 1 and statuses[0]["leader"] else None

        return await eventually(same, seconds=60)

    async def close(self) -> None:
        for member in self.alive:
            await member.kill()


async def eventually(condition: Callable[[], Awaitable[T | None]], seconds: float = 20) -> T:
    """Polls until the condition gives something; fails when it never does."""
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.02)
