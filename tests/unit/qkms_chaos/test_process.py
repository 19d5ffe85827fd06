"""A child process is started, awaited, paused, stopped, and never outlives its driver."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qkms_chaos.cluster.process import Process, ProcessDied, ProcessHangs
from qkms_chaos.cluster.waits import NotYet, WaitExpired, wait_for

READY_THEN_IDLE = "import signal, sys; print('ready', flush=True); signal.pause()"
DEAF_TO_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\n"
    "while True: signal.pause()"
)

GONE, SLEEPING, STOPPED, ZOMBIE = "gone", "S", "T", "Z"

Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def begin(program: str) -> Process:
        process = Process("child", [sys.executable, "-c", program], tmp_path / "logs" / "child.log")
        started.append(process)
        process.start()
        return process

    yield begin
    for process in started:
        process.kill()


def says_ready(process: Process) -> Callable[[], None]:
    def probe() -> None:
        if "ready" not in process.tail():
            raise NotYet("nothing printed")

    return probe


def state_of(pid: int) -> str:
    """The kernel's letter for the state of a process; see proc_pid_stat(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return GONE


def wait_state(pid: int, *wanted: str) -> None:
    def probe() -> None:
        seen = state_of(pid)
        if seen not in wanted:
            raise NotYet(seen)

    wait_for(f"process {pid} to be {' or '.join(wanted)}", probe, 10)


def test_a_child_is_ready_and_stops_when_asked(start: Start) -> None:
    child = start(READY_THEN_IDLE)
    child.wait_ready(says_ready(child))
    assert child.running
    assert child.terminate() == -signal.SIGTERM
    assert not child.running


def test_a_child_that_dies_is_told_with_its_code_and_last_words(start: Start) -> None:
    child = start("import sys; print('the disk is on fire'); sys.exit(3)")
    with pytest.raises(ProcessDied, match=r"(?s)child exited with code 3.*the disk is on fire"):
        child.wait_ready(says_ready(child))


def test_a_child_that_is_never_ready_is_told_with_what_was_seen(start: Start) -> None:
    child = start("import signal; print('half way', flush=True); signal.pause()")
    with pytest.raises(WaitExpired, match=r"waited 1 s for child to be ready.*half way"):
        child.wait_ready(says_ready(child), timeout_s=1)


def test_a_child_deaf_to_sigterm_is_killed_and_told(start: Start) -> None:
    child = start(DEAF_TO_SIGTERM)
    child.wait_ready(says_ready(child))
    with pytest.raises(ProcessHangs, match="did not stop within"):
        child.terminate(timeout_s=0.2)
    assert not child.running


def test_a_paused_child_stands_still_and_can_still_be_stopped(start: Start) -> None:
    child = start(READY_THEN_IDLE)
    child.wait_ready(says_ready(child))
    child.pause()
    wait_state(child.pid, STOPPED)
    child.resume()
    wait_state(child.pid, SLEEPING)
    child.pause()
    assert child.terminate() == -signal.SIGTERM


def test_the_tail_begins_at_the_last_start(start: Start) -> None:
    child = start("print('first life')")
    wait_for("the end", lambda: _ended(child), 10)
    child.command = (*child.command[:-1], "print('second life')")
    child.start()
    wait_for("the end", lambda: _ended(child), 10)
    assert child.tail() == "second life"
    assert child.log.read_text() == "first life\nsecond life\n"


def _ended(child: Process) -> None:
    if child.running:
        raise NotYet("it runs")


DRIVER = """
import sys, threading, time
from pathlib import Path
from qkms_chaos.cluster.process import Process
child = Process("child", [sys.executable, "-c", "import signal; signal.pause()"], Path(sys.argv[1]))
thread = threading.Thread(target=child.start)
thread.start()
thread.join()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_dies_with_a_driver_killed_by_force_though_not_with_the_thread_that_started_it(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        child = int(driver.stdout.readline())
        wait_state(child, SLEEPING)
        time.sleep(0.1)  # not to synchronise: gives a wrongly tied child the chance to die
        assert state_of(child) == SLEEPING
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        wait_state(child, "gone", ZOMBIE)
