"""What `qkms-chaos demo` does when a step does not hold, or is interrupted; the cluster is a stand-in."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qkms_chaos.__main__ import main
from qkms_chaos.tour import demo
from qkms_chaos.tour.steps import expect


class StandIn:
    """Starts nothing; says how its members ended, and whether it was closed."""

    closed = False
    kmes = ("kme-1",)
    nodes = ("node-1",)
    codes = {"node-1": 0, "kme-1": 0}

    def __init__(self, layout: object) -> None:
        type(self).closed = False

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *ending: object) -> None:
        type(self).closed = True

    def start(self, told: Callable[[str], None]) -> None:
        told("starting")

    def stop(self) -> dict[str, int]:
        return self.codes


@contextmanager
def no_world(cluster: object, told: object) -> Iterator[object]:
    yield cluster


Run = Callable[[Callable[[object], str]], Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(demo, "Cluster", StandIn)
    monkeypatch.setattr(demo, "world_of", no_world)
    monkeypatch.setattr(demo, "Tour", lambda world, told: world)

    def begin(action: Callable[[object], str]) -> Result:
        monkeypatch.setattr(demo, "STEPS", (("count to three", action),))
        return CliRunner().invoke(main, ["demo"])

    return begin


def test_all_steps_held(run: Run, tmp_path: Path) -> None:
    result = run(lambda _: "three")
    assert (result.exit_code, list(tmp_path.iterdir())) == (0, [])
    assert "✓  2/3 count to three\n        three\n" in result.output
    assert "Every step held." in result.output
    assert StandIn.closed


def test_a_step_that_does_not_hold_is_named_and_the_logs_are_kept(run: Run, tmp_path: Path) -> None:
    def two(_: object) -> str:
        expect(1 + 1 == 3, "one and one is three")
        return "three"

    result = run(two)
    assert result.exit_code == 1
    assert "✗  2/3 count to three\n        one and one is three\n" in result.output
    assert "Every step held." not in result.output
    [folder] = tmp_path.iterdir()
    assert f"Their logs: {folder}/logs" in result.output
    assert StandIn.closed


def test_a_member_that_does_not_stop_cleanly_is_a_step_that_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandIn, "codes", {"node-1": -9, "kme-1": 0})
    result = run(lambda _: "three")
    assert result.exit_code == 1
    assert "every process exits with code 0" in result.output


def test_an_interruption_stops_the_cluster(run: Run) -> None:
    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    result = run(interrupted)
    assert result.exit_code == 130
    assert "interrupted" in result.output
    assert StandIn.closed


def test_help_names_the_commands_and_their_options() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert "up " in text
    assert "demo " in text
    assert "--nodes" in CliRunner().invoke(main, ["up", "--help"]).output


def test_a_folder_of_another_size_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text("services = []\nsites = []\n")
    result = CliRunner().invoke(main, ["up", "--dir", str(tmp_path), "--nodes", "3"])
    assert result.exit_code == 1
    assert "holds a cluster of 0 nodes, not 3" in result.output
