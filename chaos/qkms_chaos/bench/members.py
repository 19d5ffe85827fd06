"""Three member processes on loopback with mutual TLS, and calls to them over pipes.

Each is tied to this process and ends with it. A member answers one call at a
time; calls to several members run side by side when all are asked first.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qkms_chaos.bench import member as member_program
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.process import TETHER
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_node.pki import Authority, Identity

COUNT = 3
PATIENCE_S = 60.0
POLL_S = 0.01
LOG_TAIL = 600


class MemberFailed(Exception):
    """A member ended, refused a call, or did not answer; the message has its name and the end of its log."""


class Member:
    """A process that can be killed and started again on its data."""

    def __init__(self, name: str, config: Path, program: str) -> None:
        self.name = name
        self._config = config
        self._program = program
        self._log = config.with_suffix(".log")
        self._child: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether it has been started and not killed."""
        return self._child is not None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Starts the process; it answers once it has loaded its data."""
        command = [sys.executable, "-m", self._program, str(self._config)]
        with self._log.open("a") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._answers = queue.SimpleQueue()
        self._reader = threading.Thread(target=_read, args=(self._child, self._answers), daemon=True)
        self._reader.start()

    def ask(self, do: str, **arguments: Any) -> None:
        """Sends a call."""
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._failed("is gone") from None

    def answer(self, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The answer to the oldest call without one. Raises MemberFailed."""
        try:
            line = self._answers.get(timeout=within_s)
        except queue.Empty:
            raise self._failed(f"did not answer within {within_s:g} s") from None
        if not line:
            raise self._failed("is gone")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise self._failed(f"refused: {message['error']}")
        value: dict[str, Any] = message["value"]
        return value

    def call(self, do: str, within_s: float = PATIENCE_S, **arguments: Any) -> dict[str, Any]:
        """Sends a call and waits for its answer. Raises MemberFailed."""
        self.ask(do, **arguments)
        return self.answer(within_s)

    def kill(self) -> None:
        """kill -9."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            assert self._reader is not None
            self._reader.join()
            assert child.stdin is not None
            with suppress(BrokenPipeError):  # a call that it never read
                child.stdin.close()

    def _failed(self, what: str) -> MemberFailed:
        log = self._log.read_text(errors="replace")[-LOG_TAIL:]
        return MemberFailed(f"{self.name} {what}; the end of its log: {log}")


class Members:
    """The cluster. `limits`: as the engine's Limits, where they differ from its defaults.

    `program`: the module that each process runs. Each member's data lie in a folder of its name.
    """

    def __init__(
        self,
        folder: Path,
        limits: Mapping[str, int],
        count: int = COUNT,
        program: str = member_program.__name__,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        names = [f"node-{number}" for number in range(1, count + 1)]
        addresses = {n: f"127.0.0.1:{p}" for n, p in zip(names, free_ports(count), strict=True)}
        authority = Authority(folder / "pki")
        self.all = [Member(name, folder / f"{name}.json", program) for name in names]
        for name in names:
            tls = authority.issue(Identity("node", name))
            settings = {
                "node_id": name,
                "members": addresses,
                "tls": [str(tls.ca), str(tls.certificate), str(tls.private_key)],
                "data_dir": str(folder / name),
                "limits": dict(limits),
            }
            (folder / f"{name}.json").write_text(json.dumps(settings))

    def __enter__(self) -> "Members":
        try:
            for member in self.all:
                member.start()
            self.settled()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process."""
        for member in self.all:
            member.kill()

    @property
    def alive(self) -> list[Member]:
        """The running members."""
        return [member for member in self.all if member.alive]

    def settled(self, within_s: float = PATIENCE_S) -> Member:
        """The leader, once the running members all follow it, are connected and have applied the same."""

        def look() -> Member:
            alive = self.alive
            for member in alive:
                member.ask("status")
            seen = [member.answer() for member in alive]
            if len({(s["leader"], s["applied"], s["commands"]) for s in seen}) != 1:
                raise NotYet(str(seen))
            if any(s["connected"] < len(alive) - 1 or s["applied"] < s["commit"] for s in seen):
                raise NotYet(str(seen))
            leader = next((member for member in alive if member.name == seen[0]["leader"]), None)
            if leader is None:
                raise NotYet(str(seen))
            return leader

        return wait_for("the members to agree", look, within_s, POLL_S)


def _read(child: subprocess.Popen[str], answers: "queue.SimpleQueue[str]") -> None:
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            answers.put(line)
    answers.put("")
