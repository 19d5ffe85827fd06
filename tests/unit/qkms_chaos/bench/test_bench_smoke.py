"""The real benchmark, as short as it can be: three processes, real TLS, a real journal."""

from pathlib import Path

import pytest
from rich.console import Console

from processes import at_work_on
from qkms_chaos.bench import consensus
from qkms_chaos.bench.consensus import bench_consensus


@pytest.mark.cluster
def test_measures_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "REPETITIONS", 1)
    monkeypatch.setattr(consensus, "OUTSTANDING", (64,))
    monkeypatch.setattr(consensus, "KILLS", 1)
    monkeypatch.setattr(consensus, "SYNCS", 10)
    result = bench_consensus(Console(quiet=True), 1.0, ("writes", "failover"), tmp_path)
    assert list(result.writes) == [64]
    assert result.writes[64].per_s > 0
    assert 0 < result.writes[64].p50_ms <= result.writes[64].p99_ms
    assert result.failover is not None
    assert result.failover.count == 1
    assert not result.reads
    assert not result.etcd
    assert list(tmp_path.iterdir()) == []
    assert at_work_on(tmp_path) == []
