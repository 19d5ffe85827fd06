"""The command line of qkms-kme: help, version, and errors that say what to do."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .kme_network import KmeNetwork


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qkms_qkd.kme", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_help_teaches_the_configuration_and_the_faults() -> None:
    shown = run("serve", "--help").stdout
    for word in (
        "[kme]",
        "link_listen",
        "[[saes]]",
        "[[links]]",
        "pulse_rate_hz",
        "intercept_resend",
        "kme.ready",
    ):
        assert word in shown


def test_version() -> None:
    answer = run("--version")
    assert (answer.returncode, answer.stdout.split()[0]) == (0, "qkms-kme")


@pytest.mark.parametrize(
    ("old", "new", "status", "said"),
    [
        ("max_stored = 200", "max_stored = 0", 2, "keys.max_stored: must be from 1"),
        ("[kme]", "[km]", 2, "km: is not a setting"),
        ("ca.pem", "none.pem", 1, "none.pem"),
    ],
)
def test_wrong_settings_are_named_without_a_trace(
    tmp_path: Path, old: str, new: str, status: int, said: str
) -> None:
    network = KmeNetwork(tmp_path, 2)
    file = network.config("kme-1")
    file.write_text(file.read_text().replace(old, new))
    answer = run("serve", "--config", file)
    assert answer.returncode == status
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    network = KmeNetwork(tmp_path, 2)
    port = int(network.url("kme-1").rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        answer = run("serve", "--config", network.config("kme-1"))
    assert answer.returncode == 1
    assert f"kme.listen: cannot listen on 127.0.0.1:{port}" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [("kme.sqlite", b"not a database, but a text" * 100, "kme.sqlite"), ("store.key", b"short", "store.key")],
)
def test_a_damaged_data_dir_is_named(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    network = KmeNetwork(tmp_path, 2)
    network.data_dir("kme-1").mkdir()
    path = network.data_dir("kme-1") / file
    path.write_bytes(content)
    path.chmod(0o600)
    answer = run("serve", "--config", network.config("kme-1"))
    assert answer.returncode == 1
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_log_is_json_and_names_the_listeners(quiet_pair: KmeNetwork) -> None:
    ready = [line for line in quiet_pair.log("kme-1") if line["event"] == "kme.ready"]
    assert len(ready) == 1
    assert ready[0]["listen"] in quiet_pair.url("kme-1")
    assert ready[0]["links"] == ["kme-2"]
    assert isinstance(ready[0]["hybrid_tls_group"], bool)
    assert json.dumps(ready[0])
