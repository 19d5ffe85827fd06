"""`qkms-chaos bench-consensus`: the whole run, in an order that is fair to both sides.

The repetitions of our writes and etcd's puts alternate, each while the other
cluster idles, so that what else the machine does meets both alike.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from rich.console import Console

from qkms_chaos.bench import etcd, machine, measurements
from qkms_chaos.bench.etcd import Etcd
from qkms_chaos.bench.figures import Load, median_load
from qkms_chaos.bench.members import Members
from qkms_chaos.bench.report import Result
from qkms_chaos.tour.narrator import Narrator

Part = Literal["writes", "reads", "etcd", "idle", "failover", "recovery"]
PARTS: tuple[Part, ...] = ("writes", "reads", "etcd", "idle", "failover", "recovery")
OUTSTANDING = (1, 64, 1000)
WAITING = (64, 1000)
COMMAND_BYTES = 300
REPETITIONS = 3
KILLS = 20
IDLE_S = 5.0
SYNCS = 1000
BACKLOGS_MIB = (10, 500)
NO_COMPACTION = {"snapshot_after_entries": 1 << 40, "snapshot_after_bytes": 1 << 40}


def bench_consensus(
    console: Console, seconds: float, parts: Collection[Part], folder: Path | None = None
) -> Result:
    """Runs `parts`, each load for `seconds`, below `folder` (default: the current one, for its disk).

    Progress goes to `console`. Raises what the measurements raise; nothing is left running or on disk.
    """
    result = Result(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), machine.describe(), {})
    wanted = [part for part in PARTS if part in parts]
    if "etcd" in wanted and (lacking := etcd.missing()):
        wanted.remove("etcd")
        result.notes.append(f"no comparison with etcd: {' and '.join(lacking)} not installed")
    processors = machine.Processors()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder or Path.cwd()) as name:
        run = _Run(result, Path(name), Narrator(console, 1 + len(wanted) - ({"writes", "etcd"} <= set(wanted))))
        run.disk()
        run.on_one_cluster(wanted, seconds)
        if "recovery" in wanted:
            run.recovery()
    result.machine["others"] = (
        f"{processors.used_by_others():.2f} of {os.cpu_count()} cores, averaged over the run"
    )
    return result


class _Run:
    def __init__(self, result: Result, folder: Path, narrator: Narrator) -> None:
        self._result = result
        self._folder = folder
        self._narrator = narrator

    def disk(self) -> None:
        with self._narrator.step("fdatasync of this disk") as say:
            self._result.fdatasync = machine.fdatasync_times(self._folder, COMMAND_BYTES, SYNCS)
            say(", ".join(f"{kind} {s.p50_ms:.3f} ms" for kind, s in self._result.fdatasync.items()))

    def on_one_cluster(self, parts: Collection[Part], seconds: float) -> None:
        with ExitStack() as running:
            members = running.enter_context(Members(self._folder / "members", {}))
            if "idle" in parts:
                self._idle(members)
            self._loads(members, parts, seconds)
            if "reads" in parts:
                self._reads(members, seconds)
            if "failover" in parts:
                self._failover(members)

    def _idle(self, members: Members) -> None:
        with self._narrator.step(f"idle CPU over {IDLE_S:g} s") as say:
            self._result.idle_cpu_percent = measurements.idle_cpu(members, IDLE_S)
            say(", ".join(f"{percent:.1f}%" for percent in self._result.idle_cpu_percent))

    def _loads(self, members: Members, parts: Collection[Part], seconds: float) -> None:
        sides = [part for part in ("writes", "etcd") if part in parts]
        if not sides:
            return
        with self._narrator.step(" and ".join(sides)) as say, ExitStack() as running:
            run: dict[str, Callable[[int], Load]] = {
                "writes": lambda n: measurements.writes(members, n, seconds, COMMAND_BYTES)
            }
            if "etcd" in parts:
                other = running.enter_context(Etcd(self._folder / "etcd", COMMAND_BYTES))
                self._result.versions = etcd.versions()
                run["etcd"] = lambda n: other.puts(n, seconds)
            found: dict[str, dict[int, list[Load]]] = {side: {n: [] for n in OUTSTANDING} for side in sides}
            for repetition in range(1, REPETITIONS + 1):
                for n in OUTSTANDING:
                    for side in sides:
                        self._narrator.told(f"{side}, {n} outstanding, {repetition} of {REPETITIONS}")
                        found[side][n].append(run[side](n))
            for side in sides:
                medians = {n: median_load(loads) for n, loads in found[side].items()}
                setattr(self._result, side, medians)
                say(f"{side}: " + _rates(medians))

    def _reads(self, members: Members, seconds: float) -> None:
        with self._narrator.step("read barriers") as say:
            for n in WAITING:
                self._narrator.told(f"{n} waiting")
                self._result.reads[n] = median_load(
                    [measurements.reads(members, n, seconds) for _ in range(REPETITIONS)]
                )
            say(_rates(self._result.reads))

    def _failover(self, members: Members) -> None:
        with self._narrator.step(f"failover, {KILLS} kills -9 of the leader") as say:
            spread = measurements.failover(members, KILLS, COMMAND_BYTES, self._narrator.told)
            self._result.failover = spread
            say(f"p50 {spread.p50_ms:.0f} ms, p95 {spread.p95_ms:.0f} ms, max {spread.max_ms:.0f} ms")

    def recovery(self) -> None:
        with (
            self._narrator.step("recovery of a member that was away") as say,
            Members(self._folder / "recovery", NO_COMPACTION) as members,
        ):
            for backlog in BACKLOGS_MIB:
                self._narrator.told(f"{backlog} MiB")
                found = measurements.recovery(members, backlog)
                self._result.recovery.append(found)
                say(f"{found.backlog_mib:.0f} MiB in {found.recover_s:.1f} s")
                if found.backlog_mib < backlog:
                    self._result.notes.append(
                        f"only {found.backlog_mib:.0f} of {backlog} MiB were committed in {found.fill_s:.0f} s"
                    )


def _rates(loads: dict[int, Load]) -> str:
    return ", ".join(f"{load.per_s:,.0f}/s at {n}" for n, load in loads.items())
