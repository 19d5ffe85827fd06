"""The two commands a newcomer runs: `qkms-chaos up` and `qkms-chaos demo`, as real processes."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from processes import at_work_on
from qkms_chaos.cluster.layout import Layout, open_layout
from qkms_chaos.cluster.observe import Observer
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.tour.steps import STEPS
from qkms_client import Client

pytestmark = pytest.mark.cluster

UP_S = 90.0
STOP_S = 30.0
DEMO_S = 150.0


def members_running(folder: Path) -> list[str]:
    """Command lines of processes that were given a configuration of this folder."""
    return [command for command in at_work_on(folder) if "serve" in command]


def wait_none_running(folder: Path) -> None:
    def probe() -> None:
        if left := members_running(folder):
            raise NotYet(f"{len(left)} run: {left[0]}")

    wait_for("every process to be gone", probe, 15)


@contextmanager
def up(folder: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "qkms_chaos", "up", "--dir", str(folder)]
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as driver:
        try:
            yield driver
        finally:
            driver.kill()


def wait_words(output: Path, driver: subprocess.Popen[bytes], *words: str) -> str:
    def probe() -> str:
        text = output.read_text()
        if driver.poll() is not None and not all(word in text for word in words):
            raise AssertionError(f"it ended with code {driver.returncode}: {text}")
        if not all(word in text for word in words):
            raise NotYet(text[-500:])
        return text

    return wait_for(f"{words} to be said", probe, UP_S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "cluster"


def client_of(folder: Path) -> Client:
    layout: Layout = open_layout(folder)
    return Client.from_profile(layout.service_profile("payments"))


def state_of(folder: Path) -> tuple[int, list[object]]:
    """Revision, root and keys on which all nodes agree. Not the digest: they write unasked, as for the audit."""
    layout = open_layout(folder)
    with Client.from_profile(layout.profile) as operator:
        observer = Observer(operator, layout.nodes)
        observer.wait_root(1)
        agreed = observer.wait_agreement()
        assert agreed.root is not None
        # The last node may confirm after the epoch has become active.
        root = replace(agreed.root, confirmed_by=())
        with client_of(folder) as client:
            keys = list(client.list_keys())
            versions = [version for key in keys for version in client.list_versions(key)]
        return agreed.revision, [root, agreed.key_count, keys, versions]


def test_up_says_its_state_stops_on_sigterm_and_resumes(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    with up(folder, first) as driver:
        wait_words(
            first, driver, "leader in term", "root epoch 1 active, grade QKD+PQC", "link node-1 - node-2: up"
        )
        with client_of(folder) as client:
            client.create_key("orders")
            sealed = client.encrypt("orders", b"attack at dawn").ciphertext
        revision, held = state_of(folder)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(STOP_S) == 0
    assert "All processes are stopped" in first.read_text()
    assert members_running(folder) == []

    with up(folder, second) as driver:
        wait_words(second, driver, "Resuming the cluster", "root epoch 1 active")
        later, found = state_of(folder)
        assert later >= revision
        assert found == held
        with client_of(folder) as client:
            assert client.decrypt("orders", sealed).plaintext == b"attack at dawn"
        os.kill(driver.pid, signal.SIGINT)
        assert driver.wait(STOP_S) == 0
    assert members_running(folder) == []


def test_a_second_up_in_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with up(folder, tmp_path / "one.txt") as driver:
        wait_words(tmp_path / "one.txt", driver, "Starting the nodes".lower())
        with up(folder, tmp_path / "two.txt") as intruder:
            assert intruder.wait(UP_S) == 1
        assert "is in use by process" in (tmp_path / "two.txt").read_text()
        assert len(members_running(folder)) >= 3
        # And with the driver killed by force nothing stays behind.
        driver.kill()
        driver.wait()
    wait_none_running(folder)


def test_the_demo_holds_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qkms_chaos", "demo"],
        capture_output=True,
        text=True,
        timeout=DEMO_S,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ticked = re.findall(r"^✓ +\d+/\d+ (.*?)(?: \([\d.]+ s\))?$", done.stdout, re.MULTILINE)
    assert ticked[1:-1] == [title for title, _ in STEPS]
    assert "Every step held." in done.stdout
    assert "replayed=True" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert members_running(Path(tempfile.gettempdir()) / "qkms-demo-") == []
