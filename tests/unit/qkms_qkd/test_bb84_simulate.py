"""`qkms-kme simulate`: its report, its JSON, its plot, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread

from qkms_qkd.bb84.physics.attacks import NoAttack
from qkms_qkd.bb84.physics.setup import Setup
from qkms_qkd.bb84.simulate import plot as plotting
from qkms_qkd.bb84.simulate.benchmark import measure
from qkms_qkd.kme.__main__ import main

KEY = ["simulate", "--km", "0", "--pulses", "1e8", "--seed", "1"]
NO_KEY = ["simulate", "--km", "50", "--pulses", "2e7", "--seed", "1"]


def test_a_run_with_a_key_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(KEY) == 0
    out, progress = capsys.readouterr()
    assert "Key: " in out
    assert "the same at both ends" in out
    assert "f = 1.0" in out
    assert max(len(line) for line in out.splitlines()) <= 115
    assert "transmitting 100%" in progress
    assert "correcting 100%" in progress


def test_a_run_without_a_key_says_why_and_what_it_would_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(NO_KEY) == 0
    out, _ = capsys.readouterr()
    assert "No key: the decoys prove no click" in out
    assert "A key takes about" in out


def test_json_is_the_same_for_the_same_seed(capsys: pytest.CaptureFixture[str]) -> None:
    reports = []
    for seed in ("1", "1", "2"):
        assert main([*NO_KEY[:-1], seed, "--json", "--eve", "0.1"]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    for report in reports:
        del report["transmission_s"], report["distillation_s"]
    assert reports[0] == reports[1] != reports[2]
    assert reports[0]["attack"] == {"name": "intercept-resend", "fraction": 0.1}
    assert reports[0]["outcome"]["discarded"] == "NO_SECRET_BITS"
    assert reports[0]["outcome"]["pulses_for_a_key"] > 1e8
    qber = {one["name"]: one["measured"] for one in reports[0]["quantities"]}["QBER, signal"]
    assert qber == pytest.approx(0.0567, abs=0.01)


@pytest.mark.parametrize(
    ("attack", "eve", "verdict"),
    [
        ("intercept-resend", "1", "QBER_TOO_HIGH"),
        ("pns", "1", "No number of pulses gives a key at these rates"),
        ("blinding", "1", "they may be blinded [DETECTORS_BLINDED]"),
    ],
)
def test_each_attack_ends_without_a_key(
    attack: str, eve: str, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*NO_KEY, "--attack", attack, "--eve", eve]) == 0
    out, _ = capsys.readouterr()
    assert verdict in out
    assert "Key: " not in out


def test_a_plot_as_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "link.png"
    assert main([*NO_KEY, "--plot", str(path)]) == 0
    image = imread(path)
    assert image.shape[0] > 1000
    assert image.shape[1] > 1000
    # The curves' blue and the run's red are there, on paper that is mostly white.
    colours = (image[..., :3] * 255).round().astype(int).reshape(-1, 3)
    for colour in ((0x1F, 0x5F, 0x99), (0xC0, 0x39, 0x2B)):
        assert (abs(colours - colour).sum(axis=1) < 6).sum() > 200
    assert 0.8 < (colours.sum(axis=1) > 750).mean() < 0.99


def test_a_plot_as_svg_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "one.svg", tmp_path / "two.SVG"]
    for path in paths:
        assert main([*NO_KEY, "--eve", "0.2", "--plot", str(path)]) == 0
        assert ElementTree.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own file
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_plot_without_matplotlib_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*NO_KEY, "--plot", str(tmp_path / "link.png")]) == 2
    assert "pip install 'qkms-qkd[plot]'" in capsys.readouterr().err
    assert plotting.PlottingUnavailable.code == "PLOTTING_UNAVAILABLE"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--km", "-1"], "length_km"),
        (["--eve", "1.5"], "fraction"),
        (["--seed", "-1"], "--seed"),
        (["--signal-share", "0.9"], "signal_share"),
        (["--plot", "link.pdf"], ".png or .svg"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NO_KEY, *arguments]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("pulses", ["0", "1.5", "many", "1e14"])
def test_pulses_are_a_whole_number(pulses: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["simulate", "--pulses", pulses])
    assert raised.value.code == 2
    assert "--pulses" in capsys.readouterr().err


def test_the_benchmark_measures_both_on_one_link(capsys: pytest.CaptureFixture[str]) -> None:
    speed = measure(Setup(0), NoAttack(), 2 * 10**6, 10**5, 1)
    assert speed.clicks_per_pulse == pytest.approx(speed.naive_clicks_per_pulse, rel=0.2)
    assert speed.ratio > 1
    assert main(["simulate", "--benchmark", "--pulses", "1e5", "--seed", "1"]) == 0
    assert "plain loop" in capsys.readouterr().out


def test_a_serving_kme_does_not_load_numpy() -> None:
    code = "import sys, qkms_qkd.kme.__main__; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
