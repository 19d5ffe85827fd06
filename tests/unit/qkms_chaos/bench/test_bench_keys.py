"""The benchmark of many keys, with few: real nodes, real calls, and what its table says."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from qkms_chaos.bench import keys
from qkms_chaos.bench.figures import Latencies
from qkms_chaos.bench.keys import bench_keys
from qkms_chaos.bench.keys_report import KeysResult, Phase, show


def test_the_table_compares_encrypts_with_those_that_had_nothing_beside_them() -> None:
    result = KeysResult("qkms-chaos bench-keys", {"load": "0.1"}, 100_000, 3, started_from="the journal")
    result.phases.append(Phase("nothing else", 5.0, Latencies(10, 2.0, 3.0, 4.0), None))
    result.phases.append(Phase("list versions", 1.0, Latencies(10, 5.0, 6.0, 7.0), Latencies(3, 1.0, 2.0, 81.5)))
    console = Console(width=200, record=True, file=StringIO())
    show(console, result)
    shown = console.export_text()
    for text in ("100,000 keys", "from the journal", "2.50", "81.5", "load: 0.1"):
        assert text in shown


@pytest.mark.cluster
def test_measures_every_phase_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "CALLS", 5)
    monkeypatch.setattr(keys, "PAGE", 10)
    monkeypatch.setattr(keys, "QUIET_S", 0.2)
    result = bench_keys(Console(quiet=True), 25, tmp_path)
    counts = {phase.what: phase.calls.count if phase.calls else 0 for phase in result.phases}
    assert counts == {
        "nothing else": 0,
        "list, all pages": 3,
        "list, a filter that none passes": 1,
        "list versions": 5,
        "rotate by hand": 5,
        "rewrap": 0,
    }
    assert all(phase.encrypts.count > 0 for phase in result.phases)
    assert min(result.fill_s, result.rewrap_s, result.start_s) > 0
    assert list(tmp_path.iterdir()) == []
