"""QBER and key rate against distance, as PNG or SVG: theory, the experiment it comes from, and this run.

Published points: Gobby, Yuan, Shields, Appl. Phys. Lett. 84, 3762 (2004) measured a QBER of 8.9% over 122 km, with
0.1 photons per pulse; Ma et al. (2005) give 142.05 km and 140.55 km as the ends of the rates with infinitely many
decoys and with vacuum and one weak decoy. Needs matplotlib, the extra `plot`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qkms_qkd.bb84.decoy import LinkFigures, LinkParameters, cutoff_km, figures
from qkms_qkd.bb84.simulate.measurement import Quantity
from qkms_qkd.bb84.simulate.run import Simulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
_GYS_KM, _GYS_QBER, _GYS_PHOTONS = 122.0, 0.089, 0.1
_MA_CUTOFFS_KM = (142.05, 140.55)
_LEAST_RATE = 1e-8
"""Bits per pulse at the bottom of the plot; a run without a key is drawn there."""
_BLUE, _RED, _GREY = "#1f5f99", "#c0392b", "#777777"


class PlottingUnavailable(Exception):
    """matplotlib is not installed."""

    code = "PLOTTING_UNAVAILABLE"


def plot(run: Simulation, path: Path) -> None:
    """Writes the plot. Raises PlottingUnavailable, OSError."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        raise PlottingUnavailable(
            f"a plot needs matplotlib: pip install 'qkms-qkd[plot]' [{PlottingUnavailable.code}]"
        ) from None
    rcParams["svg.hashsalt"] = "qkms"
    figure = Figure(figsize=(8.0, 8.4), dpi=150, layout="constrained")
    qber_axes, rate_axes = figure.subplots(2, 1, sharex=True)
    _draw_qber(qber_axes, run)
    _draw_rate(rate_axes, run)
    figure.savefig(path, format=path.suffix.lower().removeprefix("."), metadata=_undated(path))


def _undated(path: Path) -> dict[str, None]:
    # So that the same run gives the same file.
    return {"Date": None} if path.suffix.lower() == ".svg" else {}


def _draw_qber(axes: "Axes", run: Simulation) -> None:
    km = np.linspace(0, _furthest_km(run), 321)
    link = run.setup.link
    axes.plot(
        km,
        [100 * figures(x, link).qber for x in km],
        color=_BLUE,
        label=f"theory, {link.signal:g} photons per pulse",
    )
    weak = LinkParameters(signal=_GYS_PHOTONS)
    axes.plot(
        km,
        [100 * figures(x, weak).qber for x in km],
        color=_GREY,
        ls="--",
        lw=1,
        label="theory, 0.1 photons per pulse",
    )
    axes.plot(
        _GYS_KM, 100 * _GYS_QBER, "D", color=_GREY, ms=6, label="GYS 2004, measured at 0.1 photons per pulse"
    )
    axes.axhline(11, color=_RED, lw=1, ls=":")
    axes.text(2, 11.3, "11%: no secret left", color=_RED, fontsize=9)
    mine = _named(run, "QBER, signal")
    if mine is not None:
        axes.errorbar(
            run.setup.length_km, 100 * mine.measured, yerr=100 * mine.standard_error, fmt="o", color=_RED, ms=6,
            capsize=3, zorder=5, label=f"this run ± standard error{_eve(run)}",
        )  # fmt: skip
    axes.set_ylabel("QBER of the signal, %")
    axes.set_ylim(0, max(16.0, 105 * mine.measured if mine is not None else 0.0))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.66), fontsize=9, framealpha=0.95)
    axes.set_title(f"Decoy-state BB84, GYS parameters: {run.pulses:.3g} pulses over {run.setup.length_km:g} km")


def _draw_rate(axes: "Axes", run: Simulation) -> None:
    link = run.setup.link
    curves: list[tuple[str, str, str, Callable[[LinkFigures], float]]] = [
        ("infinitely many decoys", _GREY, "--", lambda found: found.rate_infinite_decoys),
        ("vacuum + weak decoy", _BLUE, "-", lambda found: found.rate_vacuum_weak),
    ]
    for name, colour, style, rate_of in curves:
        end = cutoff_km(rate_of, link)
        km = np.append(np.linspace(0, end - 0.2, 400), np.linspace(end - 0.2, end, 200))
        rates = np.array([rate_of(figures(x, link)) for x in km])
        shown = rates > 0
        axes.plot(km[shown], rates[shown], color=colour, ls=style, label=f"theory, {name}: ends at {end:.1f} km")
    for cutoff in _MA_CUTOFFS_KM:
        axes.axvline(cutoff, color=_GREY, lw=0.8, ls=":")
    axes.text(
        _MA_CUTOFFS_KM[1] - 1, 2e-3, "Ma et al. 2005:\n140.55 and 142.05 km", ha="right", fontsize=9, color=_GREY
    )
    asymptotic = _named(run, "key rate per pulse, asymptotic")
    if asymptotic is not None and asymptotic.measured > _LEAST_RATE:
        axes.errorbar(
            run.setup.length_km, asymptotic.measured, yerr=asymptotic.standard_error, fmt="o", color=_RED, ms=6,
            capsize=3, zorder=5, label=f"this run, asymptotic bound ± standard error{_eve(run)}",
        )  # fmt: skip
    finite = run.alice.secret_bits / run.pulses
    label = "this run, finite key" if finite else "this run: no finite key"
    axes.plot(
        run.setup.length_km, max(finite, _LEAST_RATE), "s" if finite else "v", color="black", ms=6, zorder=5,
        clip_on=False, label=label,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(_LEAST_RATE, 1e-2)
    axes.set_xlim(0, _furthest_km(run))
    axes.set_ylabel("secret bits per pulse")
    axes.set_xlabel("fibre, km")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", fontsize=9, framealpha=0.95)


def _furthest_km(run: Simulation) -> float:
    return max(160.0, 1.05 * run.setup.length_km)


def _named(run: Simulation, name: str) -> Quantity | None:
    return next((quantity for quantity in run.quantities if quantity.name == name), None)


def _eve(run: Simulation) -> str:
    return f", {run.attack.name} {run.attack.fraction:g}" if run.attack.fraction else ""
