"""`qkms-kme simulate`: runs a simulation and prints its report. numpy is loaded only when it is called.

Exit status: 0 when the run came to its end, with a key or without; 2 for what the caller must mend.
"""

import argparse
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qkms_qkd.bb84.physics.attacks import Attack
    from qkms_qkd.bb84.physics.setup import Setup

DESCRIPTION = """\
Simulates a decoy-state BB84 link pulse by pulse with the parameters of the Gobby, Yuan and Shields experiment,
lets Alice and Bob distil a key from it over an authenticated line, and reports what was measured beside theory.
Keys of a simulation come from its seed: never use them."""

ATTACKS = ("intercept-resend", "pns", "blinding")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--km", type=float, default=50.0, help="length of the fibre (50)")
    parser.add_argument("--pulses", type=_number, default=10**8, metavar="N", help="pulses sent, as 1e8 (1e8)")
    parser.add_argument("--eve", type=float, default=0.0, metavar="P", help="fraction of the pulses attacked (0)")
    parser.add_argument("--attack", choices=ATTACKS, default=ATTACKS[0], help=f"what she does ({ATTACKS[0]})")
    parser.add_argument(
        "--seed", type=int, help="makes the run repeatable; without it, a random one that is shown"
    )
    parser.add_argument(
        "--signal-share", type=float, default=0.4, metavar="P", help="pulses that are signals (0.4)"
    )
    parser.add_argument("--decoy-share", type=float, default=0.4, metavar="P", help="pulses that are decoys (0.4)")
    parser.add_argument("--key-basis", type=float, default=0.6, metavar="P", help="share of the key basis (0.6)")
    parser.add_argument("--dead-time", type=int, default=0, metavar="N", help="pulses missed after a click (0)")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="QBER and key rate by distance: .png or .svg")
    parser.add_argument(
        "--benchmark", action="store_true", help="only measure pulses per second, beside a plain loop"
    )


def simulate_command(options: argparse.Namespace) -> int:
    """Runs the simulation, prints the report, gives the exit status."""
    from qkms_qkd.bb84.physics.attacks import attack_named
    from qkms_qkd.bb84.physics.setup import Setup
    from qkms_qkd.bb84.simulate.plot import FORMATS, PlottingUnavailable, plot
    from qkms_qkd.bb84.simulate.report import as_json, as_text
    from qkms_qkd.bb84.simulate.run import simulate

    seed = options.seed if options.seed is not None else secrets.randbits(32)
    try:
        if seed < 0:
            raise ValueError("--seed must be 0 or more")
        setup = Setup(
            length_km=options.km,
            signal_share=options.signal_share,
            decoy_share=options.decoy_share,
            key_basis_share=options.key_basis,
            dead_time_pulses=options.dead_time,
        )
        attack = attack_named(options.attack, options.eve)
        if options.plot is not None and options.plot.suffix.lower() not in FORMATS:
            raise ValueError(f"{options.plot}: a plot ends in {' or '.join(FORMATS)}")
    except ValueError as error:
        return _refuse(error)
    if options.benchmark:
        print(_benchmark(setup, attack, options.pulses, seed))
        return 0
    progress = _Progress(sys.stderr.isatty())
    run = simulate(setup, attack, options.pulses, seed, progress.show)
    progress.end()
    print(as_json(run) if options.json else as_text(run))
    if options.plot is not None:
        try:
            plot(run, options.plot)
        except (PlottingUnavailable, OSError) as error:
            return _refuse(error)
    return 0


class _Progress:
    """Progress on stderr: one line that changes on a terminal, else a line per tenth."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._shown = ""

    def show(self, what: str, done: float) -> None:
        """Says what is being done and how far it is."""
        step = f"{what} {done:.0%}" if self._terminal else f"{what} {int(done * 10) * 10}%"
        if step == self._shown:
            return
        self._shown = step
        if self._terminal:
            print(f"\r{step:24}", end="", file=sys.stderr, flush=True)
        else:
            print(step, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the line clean."""
        if self._terminal:
            print(f"\r{'':24}\r", end="", file=sys.stderr, flush=True)


def _benchmark(setup: "Setup", attack: "Attack", pulses: int, seed: int) -> str:
    from qkms_qkd.bb84.simulate.benchmark import NAIVE_PULSES, measure

    speed = measure(setup, attack, pulses, min(pulses, NAIVE_PULSES), seed)
    rows = (
        ("sampler", speed.pulses_per_s, speed.clicks_per_pulse),
        ("plain loop", speed.naive_pulses_per_s, speed.naive_clicks_per_pulse),
    )
    lines = [
        f"{name:12}{rate / 1e6:12.3f} million pulses/s{clicks:12.3e} clicks/pulse" for name, rate, clicks in rows
    ]
    return "\n".join([*lines, f"{'ratio':12}{speed.ratio:12.0f}"])


def _number(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 1 <= value <= 1e13 or value != int(value):
        raise argparse.ArgumentTypeError(f"must be a whole number of pulses from 1 to 1e13, not {text}")
    return int(value)


def _refuse(error: Exception) -> int:
    print(f"qkms-kme: {error}", file=sys.stderr)
    return 2
