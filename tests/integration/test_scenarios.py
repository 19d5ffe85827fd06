"""Named scenarios on clusters of their own, shorter than by default; `make soak` runs them at full length."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qkms_chaos.scenarios.command import run_named
from qkms_chaos.scenarios.report import REPORT
from qkms_chaos.scenarios.scenario import NODES
from qkms_chaos.scenarios.verdict import Verdict

SEED = 1
SHORT_S = 6.0
FULL_S = 60.0


OF_HISTORIES = {
    "all nodes came to one state",
    "operations are linearizable",
    "no client goes back in time",
    "a client sees its own writes",
    "a disabled version is not used past the bound",
    "what was acknowledged is there at the end",
    "the audit has one entry per effect",
}
"""Some of what a verdict on a history names."""


def run(folder: Path, name: str, seconds: float) -> Verdict:
    _, verdict = run_named(folder, name, SEED, seconds, "toxiproxy", lambda _: None)
    assert verdict.breaches == []
    page = (folder / REPORT).read_text()
    assert f"<title>{name}</title>" in page
    assert "<circle" in page, "operations are on its timeline"
    return verdict


def figures_of_a_history(folder: Path, name: str, seconds: float) -> Mapping[str, Any]:
    verdict = run(folder, name, seconds)
    assert {one.name for one in verdict.judgements} >= OF_HISTORIES
    assert [one.name for one in verdict.judgements if one.undecided] == []
    return verdict.figures


@pytest.mark.cluster
@pytest.mark.parametrize("seconds", [SHORT_S, pytest.param(FULL_S, marks=pytest.mark.soak)])
def test_rotation_under_load(tmp_path: Path, seconds: float) -> None:
    figures = figures_of_a_history(tmp_path, "rotation-under-load", seconds)
    assert figures["root epochs"] == 2
    assert figures["rotations"] >= 2 * seconds
    assert figures["decrypt refused VERSION_DESTROYED"] >= 1


@pytest.mark.cluster
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_northbound_once(tmp_path: Path) -> None:
    """A short one is among the encryptors' tests."""
    figures = run(tmp_path, "northbound-once", FULL_S).figures
    assert figures["keys drawn"] >= 10_000
    assert set(figures["killed, times"]) == {*NODES, *(f"the KME of {node}" for node in NODES)}
    assert figures["root epochs that came into use"] >= 5


@pytest.mark.cluster
@pytest.mark.soak
@pytest.mark.parametrize("seconds", [10.0, FULL_S])
def test_kme_lies(tmp_path: Path, seconds: float) -> None:
    """The short one has time for wrong keys and an empty store, the long one for every lie."""
    figures = run(tmp_path, "kme-lies", seconds).figures
    assert figures["shares rejected"], "the lie was told, and seen through"
    assert figures["times QKD was given up"]
    assert figures["times QKD was taken up again"] == figures["times QKD was given up"]


@pytest.mark.cluster
def test_revocation_under_partition(tmp_path: Path) -> None:
    figures = figures_of_a_history(tmp_path, "revocation-under-partition", SHORT_S)
    assert figures["last use after the revocation, s"] > 0
    assert figures["after healing"] == "VERSION_DISABLED"
