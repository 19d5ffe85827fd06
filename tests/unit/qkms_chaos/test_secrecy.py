"""What is planted in the files of a run is found, wherever it is, and a search that saw nothing is no proof."""

import base64
import hashlib
import os
import time
import zlib
from pathlib import Path

import pytest

from qkms_chaos.scenarios.secrecy import TRAFFIC, Planted, nothing_leaked
from qkms_chaos.workload.canaries import Canaries

SECRET = hashlib.sha256(b"a key").digest()
CANARIES = Canaries("a label that is no secret", {"a key": SECRET})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of one node, which the process's own is not in."""
    data = tmp_path / "run" / "cluster" / "node-1" / "data"
    data.mkdir(parents=True)
    (data / "journal").write_bytes(b"...a label that is no secret...")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def judged(run: Path, since_s: float = 0.0, traffic: int | None = None) -> tuple[list[str], str]:
    found = nothing_leaked(run, Planted(CANARIES, traffic), ["node-1"], since_s)
    return found.breaches, found.undecided


def test_a_clean_run_leaks_nothing(run: Path) -> None:
    assert judged(run) == ([], "")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("cluster/node-1/data/journal.1", SECRET),
        ("cluster/node-1/data/snapshot", zlib.compress(b"before" + SECRET)),
        ("cluster/logs/node-1.log", SECRET.hex().encode()),
        ("history.jsonl", b"x" + base64.b64encode(b"y" + SECRET)),
        ("report.html", base64.urlsafe_b64encode(SECRET)),
        (f"{TRAFFIC}/lo-127.0.0.1_1-127.0.0.1_2", b"frame" + SECRET),
        ("../core", b"ELF" + SECRET),
        ("../core.4711", b"ELF" + SECRET),
    ],
)
def test_a_leak_is_found(run: Path, file: str, content: bytes) -> None:
    (run / file).parent.mkdir(exist_ok=True)
    (run / file).write_bytes(content)
    breaches, _ = judged(run)
    # Two when the two alphabets of base64 write the same.
    assert breaches
    assert all(breach.startswith("a key is in ") and Path(file).name in breach for breach in breaches)


def test_the_core_file_of_another_run_is_not_this_ones(run: Path) -> None:
    core = run.parent / "core"
    core.write_bytes(SECRET)
    os.utime(core, (0, 0))
    assert judged(run, time.time()) == ([], "")


def test_a_search_that_does_not_see_a_ledger_decides_nothing(run: Path) -> None:
    (run / "cluster" / "node-1" / "data" / "journal").unlink()
    assert judged(run) == ([], "the search did not see the ledger of node-1")


def test_raft_traffic_that_shows_even_the_label_is_in_clear(run: Path) -> None:
    (run / TRAFFIC).mkdir()
    (run / TRAFFIC / "lo").write_bytes(b"an entry with a label that is no secret")
    breaches, undecided = judged(run, traffic=100)
    assert f"the label is in {TRAFFIC}/lo (raw)" in breaches
    assert not undecided


def test_traffic_that_was_kept_and_is_none_decides_nothing(run: Path) -> None:
    assert judged(run, traffic=0) == ([], "the search did not see any Raft traffic")
    assert judged(run, traffic=1) == ([], "")
    assert judged(run, traffic=None) == ([], ""), "who may not read packets searches files"
