"""What a run leaves for later, beside its history: run.json, with its order, faults, times and verdict.

Times are those of the history. Ordering: the file is written last, so a folder that has one holds a whole run.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from qkms_chaos.checking.history import read
from qkms_chaos.faults.nemesis import Happened
from qkms_chaos.scenarios.verdict import Verdict
from qkms_chaos.workload.faulted import FaultedRun
from qkms_qkd.unreadable import UNREADABLE

HISTORY, RECORD = "history.jsonl", "run.json"


class RunInvalid(Exception):
    """A file is not the record of a run; the message names it."""

    code = "RUN_INVALID"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The content of run.json. Times are of time.monotonic of the machine that it ran on."""

    scenario: str
    seed: int
    seconds: float
    network: str
    begun: float
    healed: float
    agreed: float
    ended: float
    happened: list[Happened]
    breaches: list[str]
    undecided: list[str]


def record_of(scenario: str, seed: int, seconds: float, network: str, run: FaultedRun, verdict: Verdict) -> Record:
    """What is kept of a run."""
    return Record(
        scenario=scenario,
        seed=seed,
        seconds=seconds,
        network=network,
        begun=run.begun,
        healed=run.healed,
        agreed=run.agreed,
        ended=run.ended,
        happened=run.happened,
        breaches=verdict.breaches,
        undecided=[one.name for one in verdict.judgements if one.undecided],
    )


def save(folder: Path, record: Record) -> None:
    """Writes it into the run's folder. Raises OSError."""
    (folder / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record)))


def read_record(path: Path) -> Record:
    """The inverse of `save`. Raises RunInvalid."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except UNREADABLE as error:
        raise RunInvalid(f"{path} is no record of a run: {error}") from None


def saved_runs(folder: Path) -> Iterator[tuple[Record, FaultedRun]]:
    """Every run under `folder`, in order of the paths. Raises RunInvalid, HistoryInvalid, OSError."""
    for path in sorted(folder.rglob(RECORD)):
        record = read_record(path)
        run = FaultedRun(
            ops=read(path.parent / HISTORY),
            happened=record.happened,
            begun=record.begun,
            healed=record.healed,
            agreed=record.agreed,
            ended=record.ended,
        )
        yield record, run
