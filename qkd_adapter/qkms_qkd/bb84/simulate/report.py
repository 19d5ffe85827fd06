"""A simulation as a table for people and as JSON for programs. Pure.

JSON holds no key: its length only.
"""

from typing import Any

import msgspec

from qkms_qkd.bb84.chain.finite_key import EPS_SECRET, overhead_bits
from qkms_qkd.bb84.chain.verification import failure_probability
from qkms_qkd.bb84.decoy import figures
from qkms_qkd.bb84.physics.monitor import ALARM_A
from qkms_qkd.bb84.simulate.measurement import Quantity
from qkms_qkd.bb84.simulate.run import Simulation, reconciliation_efficiency

_FAR = 5.0
"""Standard errors from which a deviation is pointed at."""


def as_text(run: Simulation) -> str:
    """The report; lines of at most about 110 characters."""
    parts = (_heading(run), _table(run), _monitors(run), _distillation(run), _verdict(run))
    return "\n\n".join("\n".join(part) for part in parts)


def as_json(run: Simulation) -> str:
    """The same as one JSON object; rates per pulse, currents in amperes, times in seconds."""
    block, reading = run.alice, run.reading
    discarded = run.bob.discarded if _peer_spoke_first(run) else block.discarded
    content: dict[str, Any] = {
        "length_km": run.setup.length_km,
        "pulses": run.pulses,
        "seed": run.seed,
        "attack": {"name": run.attack.name, "fraction": run.attack.fraction},
        "counts": run.counts,
        "quantities": run.quantities,
        "monitors": {
            "current_a": reading.current_a,
            "alarm": reading.alarm is not None,
            "double_clicks": reading.double_clicks,
            "double_clicks_expected": reading.double_clicks_expected,
            "double_clicks_chance": reading.double_clicks_chance,
        },
        "distillation": {
            "qber_test_basis": block.tally.qber,
            "sifted_bits": block.sifted_bits,
            "corrected_bits": block.flipped_bits,
            "parity_bits": block.parity_bits,
            "efficiency": reconciliation_efficiency(block),
            "verified": block.verified,
            "bounds": block.bounds,
            "eps_secret": EPS_SECRET,
        },
        "outcome": {
            "discarded": discarded.code if discarded else None,
            "reason": discarded.message if discarded else None,
            "secret_bits": block.secret_bits,
            "key_bits": 8 * len(block.key),
            "keys_equal": block.key == run.bob.key,
            "authentication_left_blocks": run.authentication_left_blocks,
            "pulses_for_a_key": run.pulses_for_a_key,
        },
        "transmission_s": run.transmission_s,
        "distillation_s": run.distillation_s,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def _heading(run: Simulation) -> list[str]:
    setup, link = run.setup, run.setup.link
    shares = ", ".join(
        f"{name} {mean:g} ({share:.0%})"
        for name, mean, share in zip(("signal", "decoy", "vacuum"), setup.intensities, setup.shares, strict=True)
    )
    eve = "nobody" if not run.attack.fraction else f"{run.attack.name} on {run.attack.fraction:.4g} of the pulses"
    return [
        f"Decoy-state BB84 over {setup.length_km:g} km, {run.pulses:.3g} pulses, seed {run.seed}",
        f"  photons per pulse    {shares}",
        f"  receiver             efficiency {link.receiver_efficiency:g}, misalignment {link.misalignment:g},"
        f" dark counts {setup.dark_count:.2e} per gate, dead time {setup.dead_time_pulses} pulses",
        f"  fibre and bases      {link.loss_db_per_km:g} dB/km, key basis {setup.key_basis_share:.0%}",
        f"  eavesdropper         {eve}",
    ]


def _table(run: Simulation) -> list[str]:
    columns = ("measured", "std error", "expected", "off by", "without Eve", "off by")
    title = "".join(f"{column:>{width}}" for column, width in zip(columns, (12, 10, 13, 9, 13, 9), strict=True))
    return [f"{'':31}{title}", *(_row(quantity) for quantity in run.quantities)]


def _row(one: Quantity) -> str:
    quiet = (one.measured - one.undisturbed) / one.standard_error if one.standard_error > 0 else None
    mark = "  <" if quiet is not None and abs(quiet) >= _FAR else ""
    return (
        f"{one.name:31}{one.measured:12.4e}{one.standard_error:10.1e}"
        f"{one.expected:13.4e}{_sigmas(one.deviation)}{one.undisturbed:13.4e}{_sigmas(quiet)}{mark}"
    )


def _sigmas(deviation: float | None) -> str:
    if deviation is None:
        return f"{'-':>9}"
    return f"{deviation:+8.1f}s" if abs(deviation) < 1000 else f"{deviation:+8.0e}s"


def _monitors(run: Simulation) -> list[str]:
    reading = run.reading
    current = f"detector current {reading.current_a:.2e} A (alarm over {ALARM_A:.0e} A)"
    clicks = (
        f"double clicks {reading.double_clicks}, expected {reading.double_clicks_expected:.1f}"
        f" (so far off by chance: {reading.double_clicks_chance:.1g})"
    )
    suspicious = ": SUSPICIOUS" if reading.double_clicks_suspicious else ""
    return ["Monitors", f"  {current}{': ALARM' if reading.alarm else ''}", f"  {clicks}{suspicious}"]


def _distillation(run: Simulation) -> list[str]:
    block = run.alice
    lines = ["Distillation"]
    if block.tally.qber is not None:
        tested = f"{sum(block.tally.test):.0f} in the test basis, of these {block.tally.qber:.2%} wrong"
        lines.append(f"  sifting              {block.sifted_bits} bits in the key basis, {tested}")
    if (efficiency := reconciliation_efficiency(block)) is not None:
        corrected = f"{block.flipped_bits} bits corrected ({block.flipped_bits / block.sifted_bits:.2%})"
        missed = failure_probability(block.sifted_bits)
        lines += [
            f"  Cascade              {corrected}, {block.parity_bits} parities told, f = {efficiency:.3f}",
            f"  verification         equal; unequal keys pass with probability {missed:.0e}",
        ]
    if (found := block.bounds) is not None:
        lines.append(
            f"  finite-size bounds   single photons >= {found.key_single:.0f}, vacuum >= {found.key_vacuum:.0f},"
            f" phase error <= {found.phase_error:.2%}, eps {EPS_SECRET:.0e}"
        )
    if block.secret_bits:
        lines.append(
            f"  secret               {block.secret_bits} bits, after {block.leaked_bits} told and"
            f" {overhead_bits():.0f} spent; {8 * block.replenished_bytes} go to authentication"
        )
    frames = block.sent_frames + run.bob.sent_frames
    lines.append(
        f"  authenticated line   {frames} messages, {(block.sent_bytes + run.bob.sent_bytes) / 1e6:.2f} MB;"
        f" keys left to authenticate {run.authentication_left_blocks} blocks"
    )
    lines.append(
        f"  time                 {run.transmission_s:.2f} s of pulses, {run.distillation_s:.2f} s of distillation"
    )
    return lines


def _verdict(run: Simulation) -> list[str]:
    block = run.alice
    reason = run.bob.discarded if _peer_spoke_first(run) else block.discarded
    asymptotic = figures(run.setup.length_km, run.setup.link).rate_vacuum_weak
    if reason is None:
        rate = f"{block.secret_bits / run.pulses:.3e} bits per pulse"
        return [
            f"Key: {8 * len(block.key)} bits, the same at both ends; {rate}"
            f" (asymptotic, half the bases equal: {asymptotic:.3e})"
        ]
    lines = [f"No key: {reason.message} [{reason.code}]"]
    if reason.code == "NO_SECRET_BITS":
        lines.append(
            f"A key takes about {run.pulses_for_a_key:.1e} pulses at these rates."
            if run.pulses_for_a_key is not None
            else "No number of pulses gives a key at these rates."
        )
    return lines


def _peer_spoke_first(run: Simulation) -> bool:
    return run.alice.discarded is not None and run.alice.discarded.code == "PEER_DISCARDED"
