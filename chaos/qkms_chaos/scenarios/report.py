"""A run as one HTML file that needs nothing else: promise, verdicts, timeline, availability, how to replay it.

The timeline has a row for each node (the operations of the clients bound to it) and one for the clients of the
whole cluster. A mark is an operation: where it began, how long it took (logarithmic), how it ended. Bands are
faults.
"""

from collections.abc import Sequence
from html import escape
from math import log10

from qkms_chaos.checking.history import READS, WRITES, Op, Outcome
from qkms_chaos.scenarios.phases import KINDS, Phase, first_write_s, is_served, kind, phases, served, sides
from qkms_chaos.scenarios.verdict import Verdict
from qkms_chaos.workload.faulted import FaultedRun

REPORT = "report.html"
WIDTH, ROW, LEFT, TOP = 1200, 120, 130, 24
FASTEST_S, SLOWEST_S = 0.001, 10.0
MOST_MARKS = 6_000
COLOURS = {"served": "#2a7f62", "not served": "#c8553d", "unknown": "#8a4fbe"}
BAND = "#f4d9a8"

_NO_FAULT = ("no fault yet", "is whole", "runs", ": sound", "is honest", "is active")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1440px; color: #222; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { white-space: nowrap; padding: .2rem .6rem; text-align: left; border-bottom: 1px solid #ddd }
.held { color: #2a7f62 } .broken { color: #b00020; font-weight: 600 } .undecided { color: #9a6700 }
code, pre { background: #f5f5f5; padding: .1rem .3rem } svg { width: 100%; height: auto } small { color: #666 }
"""


def report(name: str, promise: str, replay: str, run: FaultedRun, verdict: Verdict) -> str:
    """The file's text."""
    broken = bool(verdict.breaches)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(name)}</title><style>{STYLE}</style>
<h1>{escape(name)}: <span class="{"broken" if broken else "held"}">{"broken" if broken else "held"}</span></h1>
<p>{escape(promise)}</p>
<p>Replay: <code>{escape(replay)}</code></p>
{_verdicts(verdict)}
<h2>What happened</h2>
{_legend()}
{_timeline(run)}
<h2>What was served</h2>
<p><small>Operations that began in each phase: share served, and the median and 99th percentile of the time that
those took. Refusals for what was asked (a conflict, a disabled version) are served.</small></p>
{_availability(run)}
<h2>Figures</h2>
{_figures(verdict)}
</html>
"""


def replay_command(name: str, seed: int, seconds: float, network: str) -> str:
    """The command line that runs the same again."""
    return f"qkms-chaos run {name} --seed {seed} --seconds {seconds:g} --network {network}"


def _verdicts(verdict: Verdict) -> str:
    rows = []
    for one in verdict.judgements:
        state = "broken" if one.breaches else "undecided" if one.undecided else "held"
        said = "<br>".join(escape(text) for text in (*one.breaches[:10], one.undecided) if text)
        rows.append(f'<tr><td>{escape(one.name)}</td><td class="{state}">{state}</td><td>{said}</td></tr>')
    return f"<table><tr><th>invariant</th><th>verdict</th><th></th></tr>{''.join(rows)}</table>"


def _legend() -> str:
    marks = "".join(
        f'<span style="color:{colour}">&#9679;</span> {escape(what)} &nbsp; ' for what, colour in COLOURS.items()
    )
    return f'<p>{marks}<span style="background:{BAND}">&nbsp;&nbsp;&nbsp;</span> a fault</p>'


def _timeline(run: FaultedRun) -> str:
    calls = [op for op in run.ops if op.call in WRITES | READS and op.process != "setup"]
    rows = sorted({_row(op) for op in calls}, key=lambda row: (row != "cluster", row))
    height = TOP + ROW * len(rows) + 40
    spans = phases(run)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline">']
    parts += [_band(run, span, height) for span in spans if _is_fault(span)]
    parts += [_axis(run, rows, height)]
    marked = _thinned([op for op in calls if op.end is not None and op.start >= run.begun])
    parts += [_mark(run, rows, op) for op in marked]
    parts.append("</svg>")
    return "".join(parts)


def _is_fault(span: Phase) -> bool:
    return not any(word in span.what for word in _NO_FAULT)


def _row(op: Op) -> str:
    return op.process.partition("@")[2] or "cluster"


def _x(run: FaultedRun, at: float) -> float:
    span = max(run.ended - run.begun, 0.1)
    return LEFT + (WIDTH - LEFT - 10) * (at - run.begun) / span


def _y(row: int, took_s: float) -> float:
    share = log10(min(max(took_s, FASTEST_S), SLOWEST_S) / FASTEST_S) / log10(SLOWEST_S / FASTEST_S)
    return TOP + ROW * (row + 1) - 10 - (ROW - 20) * share


def _band(run: FaultedRun, span: Phase, height: int) -> str:
    left, right = _x(run, span.begin), _x(run, span.end)
    title = escape(f"{span.begin - run.begun:.2f} s: {span.what}")
    return (
        f'<rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 1):.1f}" height="{height - TOP - 40}" '
        f'fill="{BAND}" fill-opacity="0.6"><title>{title}</title></rect>'
    )


def _axis(run: FaultedRun, rows: Sequence[str], height: int) -> str:
    parts = []
    for number, row in enumerate(rows):
        for took_s, label in ((0.001, "1 ms"), (0.1, "100 ms"), (10.0, "10 s")):
            y = _y(number, took_s)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" font-size="10" text-anchor="end">{label}</text>')
        parts.append(f'<text x="4" y="{TOP + ROW * number + ROW / 2:.0f}" font-size="14">{escape(row)}</text>')
    seconds = run.ended - run.begun
    step = max(1, round(seconds / 12))
    for second in range(0, int(seconds) + 1, step):
        x = _x(run, run.begun + second)
        parts.append(f'<text x="{x:.1f}" y="{height - 20}" font-size="11" text-anchor="middle">{second} s</text>')
    return "".join(parts)


def _thinned(ops: Sequence[Op]) -> list[Op]:
    """All that were not served, and as many of the others as a page bears."""
    rest = [op for op in ops if is_served(op)]
    every = max(1, -(-len(rest) // MOST_MARKS))
    return [*rest[::every], *(op for op in ops if not is_served(op))]


def _mark(run: FaultedRun, rows: Sequence[str], op: Op) -> str:
    what = "served" if is_served(op) else "unknown" if op.outcome is Outcome.UNKNOWN else "not served"
    took_s = (op.end or op.start) - op.start
    x, y = _x(run, op.start), _y(rows.index(_row(op)), took_s)
    radius = 1.3 if what == "served" else 3
    title = escape(str(op)) if what != "served" else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{COLOURS[what]}" fill-opacity="0.7">'
        f"{f'<title>{title}</title>' if title else ''}</circle>"
    )


def _availability(run: FaultedRun) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("at", "phase", "side", "first write", *KINDS))
    body = []
    for phase in phases(run):
        for side, ops in sides(run, phase).items():
            first = first_write_s(ops, phase)
            cells = [f"{phase.begin - run.begun:.1f} s", escape(phase.what), escape(side)]
            cells += ["" if first is None else f"{first:.2f} s"]
            cells += [_cell([op for op in ops if kind(op) == one]) for one in KINDS]
            body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def _cell(ops: Sequence[Op]) -> str:
    found = served(ops)
    if found.share is None:
        return ""
    times = ""
    if found.p50_s is not None and found.p99_s is not None:
        times = f" <small>{found.p50_s * 1000:.0f} / {found.p99_s * 1000:.0f} ms</small>"
    return f"{found.share:.0%} of {found.asked}{times}"


def _figures(verdict: Verdict) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(what))}</td><td>{escape(str(value))}</td></tr>"
        for what, value in verdict.figures.items()
    )
    return f"<table>{rows}</table>"
