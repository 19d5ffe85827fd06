"""What holds on each side of a partition, as a table: which operations count where, and how a file gets it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from qkms_chaos.checking.history import Op, Outcome
from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.scenarios.cap import table
from qkms_chaos.scenarios.cap_command import BEGIN, END, cap_table_command
from qkms_chaos.scenarios.saved import HISTORY, Record, record_of, save
from qkms_chaos.scenarios.verdict import Verdict
from qkms_chaos.workload.faulted import FaultedRun

OK, REFUSED = Outcome.OK, Outcome.REFUSED


def op(process: str, call: str, start: float, reason: str = "", took: float = 0.01, level: str = "") -> Op:
    args = {"level": level} if level else {}
    return Op(process, call, "k1", start, start + took, REFUSED if reason else OK, dict(args), {}, reason)


RUN = FaultedRun(
    ops=[
        op("c1", "rotate", 1),
        op("c1", "rotate", 2, "VERSION_CONFLICT"),
        op("c1", "rotate", 10.5),  # within the first second of the cut: counts for the wait alone
        op("c1", "rotate", 12),
        op("c2@node-1", "rotate", 13, "NO_QUORUM"),
        op("c2@node-1", "rotate", 18.9, took=1.5),  # outlived its partition
        op("c2@node-1", "rotate", 19.2),  # while it was being mended
        op("c2@node-1", "get", 14, level="stale_ok"),
        op("c2@node-1", "get", 15, "NO_QUORUM", level="linearizable"),
        op("c1", "get", 25, level="linearizable"),  # after the partition: of no side
        op("w1", "event", 13),
    ],
    happened=[Happened(9, 10, "node-1 is cut off from the other nodes"), Happened(19, 20, "the network is whole")],
    begun=0,
    healed=30,
    agreed=31,
    ended=32,
)


def row(markdown: str, word: str) -> list[str]:
    [line] = [line for line in markdown.splitlines() if line.startswith("|") and word in line.split("|")[1]]
    return [cell.rpartition("<br>")[2].strip() for cell in line.split("|")[2:5]]


def test_operations_count_on_the_side_where_they_were() -> None:
    markdown = table([RUN])
    assert row(markdown, "writes") == [
        "*served: 100% of 2, p50 10 ms*",
        "*served: 100% of 1, p50 10 ms*",
        "*served: 0.0% of 1*",
    ]
    assert row(markdown, "LINEARIZABLE") == ["*nobody asked*", "*nobody asked*", "*served: 0.0% of 1*"]
    assert row(markdown, "STALE_OK")[2] == "*served: 100% of 1, p50 10 ms*"
    assert row(markdown, "BOUNDED") == ["*nobody asked*"] * 3
    assert "First write acknowledged after 1 partitions: p50 0.51 s" in markdown


def saved(folder: Path, name: str, run: FaultedRun = RUN, **changed: object) -> Record:
    place = folder / name
    place.mkdir(parents=True)
    (place / HISTORY).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in run.ops))
    record = record_of("split-brain-writes", 1, 30.0, "toxiproxy", run, Verdict([], {}))
    record = msgspec.structs.replace(record, **changed)
    save(place, record)
    return record


def test_saved_runs_become_the_table_of_a_file(tmp_path: Path) -> None:
    runs, file = tmp_path / "runs", tmp_path / "README.md"
    saved(runs, "one")
    saved(runs, "two", replace(RUN, ops=RUN.ops[:4]), seed=2)
    file.write_text(f"before\n{BEGIN}\nan older table\n{END}\nafter\n")
    for _ in range(2):
        done = CliRunner().invoke(cap_table_command, ["--from", str(runs), "--write", str(file)])
        assert done.exit_code == 0, done.output
    text = file.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| |")
    assert text.endswith(f"{END}\nafter\n")
    assert "an older table" not in text
    assert row(text, "writes")[0] == "*served: 100% of 4, p50 10 ms*"
    assert "`qkms-chaos run-all --only split-brain-writes --network toxiproxy --seeds 2`" in text


@pytest.mark.parametrize(
    ("broken", "text", "said"),
    [
        ([], "no markers", "where the table is to go"),
        (["a promise: broken"], f"{BEGIN}\n{END}\n", "promises were broken in split-brain-writes --seed 1"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_file_stays(
    tmp_path: Path, broken: list[str], text: str, said: str
) -> None:
    runs, file = tmp_path / "runs", tmp_path / "README.md"
    saved(runs, "one", breaches=broken)
    file.write_text(text)
    done = CliRunner().invoke(cap_table_command, ["--from", str(runs), "--write", str(file)])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert file.read_text() == text


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(cap_table_command, ["--from", str(tmp_path)])
    assert (done.exit_code, "has no run" in done.output) == (2, True)
