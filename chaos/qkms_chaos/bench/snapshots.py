"""`qkms-chaos bench-snapshots`: what a snapshot of a large ledger costs the engine, its callers and its memory.

The ledger is made once, by real commands, and put on disk as members that have
applied them would have it. Then a member alone writes a snapshot, and a leader
of three sends one: to a member with an empty disk, and to one that has an older
ledger of the same size, which it must keep until the new one is complete. A
light load runs meanwhile.
"""

import os
import shlex
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from qkms_chaos.bench import ledger_member, machine
from qkms_chaos.bench.figures import Latencies
from qkms_chaos.bench.ledger_fill import CLUSTER, count, filled
from qkms_chaos.bench.members import Member, Members
from qkms_chaos.bench.rounds import Gaps
from qkms_chaos.bench.snapshot_report import Held, Phase, SnapshotResult
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.tour.narrator import Narrator
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.settings import Limits
from qkms_node.consensus.snapshot_file import Meta
from qkms_node.consensus.snapshot_store import SnapshotStore
from qkms_node.ledger.snapshot import snapshot

PATIENCE_S = 600.0
QUIET_S = 10.0
DIGESTS = 5
DIGEST_EVERY_S = 0.2
OLDER, NEWER = 500_000, 1_000_000  # log indexes of the two ledgers on disk
TERM = 1
NEVER = {"snapshot_after_entries": 1 << 40, "snapshot_after_bytes": 1 << 40}  # but on demand
KEYS_PER_RECORD = 1 / 8
MIB = 1 << 20


def bench_snapshots(console: Console, records: int, folder: Path | None = None) -> SnapshotResult:
    """Runs everything with a ledger of `records` records below `folder` (default: the current one, for its disk).

    Progress goes to `console`. Raises MemberFailed, WaitExpired, OSError; nothing is left running or on disk.
    """
    result = SnapshotResult(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), machine.describe())
    processors = machine.Processors()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder or Path.cwd()) as name:
        run = _Run(result, Path(name), Narrator(console, 5))
        run.fill(records)
        with ExitStack() as running:
            run.alone(running)
        with ExitStack() as running:
            run.three(running)
    result.machine["others"] = (
        f"{processors.used_by_others():.2f} of {os.cpu_count()} cores, averaged over the run"
    )
    return result


class _Run:
    def __init__(self, result: SnapshotResult, folder: Path, narrator: Narrator) -> None:
        self._result = result
        self._folder = folder
        self._narrator = narrator
        self._keys = 0

    def fill(self, records: int) -> None:
        with self._narrator.step(f"a ledger of {records:,} records, by real commands") as say:
            now_ms = time.time_ns() // 1_000_000
            state = filled(records, now_ms)
            self._keys = len(state.keys)
            self._result.records = count(state)
            store = SnapshotStore(self._folder / "made", CLUSTER)
            for index in (OLDER, NEWER):
                meta = Meta(cluster_id=CLUSTER, index=index, term=TERM, time_ms=now_ms)
                size = store.write(meta, snapshot(state)).size
            say(f"{self._result.records:,} records, {size / MIB:.0f} MiB as a snapshot")

    def alone(self, running: ExitStack) -> None:
        members = self._members(running, "alone", 1)
        member = members.all[0]
        result = self._result
        with self._narrator.step("a member alone starts from its snapshot") as say:
            self._seed(members, member, NEWER)
            self._start(members, member)
            about = member.call("about", PATIENCE_S)
            resident = machine.memory(member.pid).resident_bytes
            result.start_s = about["start_s"]
            result.bytes_per_record = (resident - about["empty_bytes"]) / about["records"]
            say(f"in {result.start_s:.1f} s, {result.bytes_per_record:.0f} bytes per record")
        with self._narrator.step("it takes a snapshot under a light load") as say:
            members.settled(PATIENCE_S)
            member.call("load", keys=self._keys)
            begun = time.monotonic()
            time.sleep(QUIET_S)
            self._phase(member, "alone: no snapshot", begun, time.monotonic())
            begun = time.monotonic()
            for _ in range(DIGESTS):
                member.call("digest", PATIENCE_S)
                time.sleep(DIGEST_EVERY_S)
            self._phase(member, f"alone: {DIGESTS} digests of the state", begun, time.monotonic())
            machine.reset_peak(member.pid)
            before = machine.memory(member.pid)
            taken = member.call("snapshot", PATIENCE_S)
            member.call("idle", PATIENCE_S)
            self._phase(member, "alone: takes and writes one", taken["begun"], time.monotonic())
            self._held(member, "takes and writes one", before)
            result.write_s, result.size_bytes = taken["ended"] - taken["begun"], taken["size"]
            say(f"{result.size_bytes / MIB:.0f} MiB in {result.write_s:.1f} s")

    def three(self, running: ExitStack) -> None:
        members = self._members(running, "three", 3)
        with self._narrator.step("two of three members start") as say:
            for member in members.all[:2]:
                self._seed(members, member, NEWER)
                self._start(members, member)
            leader = members.settled(PATIENCE_S)
            leader.call("load", keys=self._keys)
            begun = time.monotonic()
            time.sleep(QUIET_S)
            self._phase(leader, "three: leader, no snapshot", begun, time.monotonic())
            say(f"{leader.name} leads")
        with self._narrator.step("the leader sends its snapshot to the third") as say:
            third = members.all[2]
            say(self._send(members, leader, third, "empty"))
            third.kill()
            shutil.rmtree(self._folder / "three" / third.name)
            self._seed(members, third, OLDER)
            say(self._send(members, leader, third, "older"))

    def _send(self, members: Members, leader: Member, third: Member, holding: str) -> str:
        """The leader brings `third` up to date, and both are looked at meanwhile."""
        begun = time.monotonic()
        term = leader.call("status")["term"]
        self._start(members, third)
        machine.reset_peak(third.pid)
        before = machine.memory(third.pid)
        leader_before = machine.memory(leader.pid)
        machine.reset_peak(leader.pid)
        started = time.monotonic()
        arrived = third.call("event", PATIENCE_S, name="consensus.snapshot_arrived", since=begun)["at"]
        installed = third.call("event", PATIENCE_S, name="consensus.snapshot_installed", since=begun)["at"]
        third.call("idle", PATIENCE_S)
        wait_for("the third member to have applied everything", lambda: _level(leader, third), PATIENCE_S)
        ended = time.monotonic()
        self._phase(leader, f"three: leader sends, receiver {holding}", started, ended)
        self._phase(third, f"three: {holding} receiver, while it arrives", started, arrived)
        self._phase(third, f"three: {holding} receiver, while it is installed", arrived, ended)
        self._held(leader, f"sends to {holding} receiver", leader_before)
        self._held(third, f"{holding} receiver", before)
        if leader.call("status")["term"] != term:
            self._result.notes.append(f"leadership changed while the {holding} receiver was brought up to date")
        return f"{holding}: arrived in {arrived - started:.1f} s, installed in {installed - arrived:.1f} s more"

    def _members(self, running: ExitStack, name: str, members: int) -> Members:
        made = Members(self._folder / name, NEVER, members, ledger_member.__name__)
        running.callback(made.close)
        return made

    def _start(self, members: Members, member: Member) -> None:
        member.start()
        member.call("about", PATIENCE_S)

    def _seed(self, members: Members, member: Member, index: int) -> None:
        """The disk of a member that founded the cluster and compacted its log at `index`."""
        data = members.folder / member.name
        journal = DurableJournal(data / "journal", CLUSTER, member.name, Limits().segment_bytes)
        journal.setCurrentTerm(TERM, None)
        journal.reset(index, TERM)
        journal.newcomer.founded()
        journal.flush()
        journal._destroy()
        (data / "snapshots").mkdir()
        for path in (self._folder / "made").glob(f"{index:020d}-*"):
            shutil.copy(path, data / "snapshots")

    def _phase(self, member: Member, what: str, since: float, until: float) -> None:
        span: dict[str, Any] = member.call("span", since=since, until=until)
        commits = Latencies(**span["commits"]) if span["commits"] else None
        self._result.phases.append(Phase(what, until - since, Gaps(**span["gaps"]), commits))
        if span["failures"]:
            self._result.notes.append(f"{span['failures']} commands had failed after: {what}")

    def _held(self, member: Member, what: str, before: machine.Memory) -> None:
        now = machine.memory(member.pid)
        self._result.held.append(Held(what, before.resident_bytes, now.peak_bytes, now.resident_bytes))


def _level(leader: Member, third: Member) -> None:
    applied, wanted = third.call("status")["applied"], leader.call("status")["commit"]
    if wanted - applied > 10:
        raise NotYet(f"{applied} of {wanted}")
