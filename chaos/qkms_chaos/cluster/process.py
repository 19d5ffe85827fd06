"""One child process of a cluster: started, watched, paused, killed, started again.

Output goes to a log file that grows over restarts. A child runs in a process
group of its own, so that Ctrl-C at a terminal reaches the driver alone and the
driver stops its children in order; it is tied to the driver by `tether`, so it
does not outlive it even after kill -9.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qkms_chaos.cluster.waits import NotYet, wait_for

TETHER = Path(__file__).with_name("tether.py")
TAIL_LINES = 12
TAIL_BYTES = 65536
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0

# The kernel ties a child to the thread that forked it, so every child is forked
# by one thread that lives as long as this process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessDied(Exception):
    """A child ended by itself; the message has its exit code and its last log lines."""


class ProcessHangs(Exception):
    """A child did not stop in time after SIGTERM and was killed."""


class Process:
    """A named command with its log file. `environment` is laid over this process's own."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._environment = dict(environment or {})
        self.command = tuple(command)
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Of the running child. Raises ProcessDied when there is none."""
        self.require_running()
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child has been started and has not ended; a paused child runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Starts the child; what it needs to be ready is for `wait_ready` to say."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already (process {self.pid})")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *self.command]
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._child = _spawner.submit(_spawn, arguments, output.fileno(), self._environment).result()

    def wait_ready(self, probe: Callable[[], object], timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns once `probe` no longer raises NotYet. Raises WaitExpired, or ProcessDied at once."""

        def check() -> None:
            self.require_running()
            try:
                probe()
            except NotYet as seen:
                raise NotYet(f"{seen}; the log says: {self.tail(3)}") from None

        wait_for(f"{self.name} to be ready", check, timeout_s)

    def terminate(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, and the exit code; 0 when there was nothing to stop. Raises ProcessHangs."""
        self.ask_to_stop()
        return self.wait_end(timeout_s)

    def ask_to_stop(self) -> None:
        """SIGTERM, also to a paused child; `wait_end` waits for what it does about it."""
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)
            self._child.send_signal(signal.SIGCONT)

    def wait_end(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit code of a child that was asked to stop. Raises ProcessHangs after having killed it."""
        if self._child is None:
            return 0
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessHangs(
                f"{self.name} did not stop within {timeout_s:g} s of SIGTERM and was killed; "
                f"its last log lines:\n{self.tail()}"
            ) from None

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def pause(self) -> None:
        """SIGSTOP: alive for the kernel, silent for everyone else."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def require_running(self) -> None:
        """Raises ProcessDied unless the child runs."""
        if self._child is None:
            raise ProcessDied(f"{self.name} has not been started")
        code = self._child.poll()
        if code is not None:
            raise ProcessDied(f"{self.name} {_ending(code)}; its last log lines:\n{self.tail()}")

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last log lines since the last start."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _spawn(arguments: Sequence[str], output: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        arguments,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with code {code}"
