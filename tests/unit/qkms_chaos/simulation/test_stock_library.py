"""The oracles can fail: on the same simulated world the unmodified library shows the defects that qkms mends.

Each case is a profile in which the defect shows, and how: by which rule, and in the midst of what. The
number of seeds is several times what is needed.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from qkms_chaos.simulation import faults
from qkms_chaos.simulation.faults import PROFILES, Profile
from qkms_chaos.simulation.oracles import Violation
from qkms_chaos.simulation.run import Task, run
from qkms_chaos.simulation.stock import STOCK

SEEDS = 60
CUT = "a tail is cut only on a conflict"
STORED = "stored is kept"
SPLIT_HISTORY = {
    "state machine safety",
    "equal state at equal index",
    "log matching",
    "acknowledged is never lost",
}


@dataclass(frozen=True)
class Case:
    defect: str
    profile: Profile
    shown_by: Callable[[Violation], bool]
    ignored: frozenset[str] = frozenset()


ISOLATION = Profile("stock-isolation", (faults.isolated_leader,), snapshots=True, load=70.0)
KILLS = Profile("stock-kills", (faults.kill,), count=20, snapshots=True, load=70.0)
KILLS_AT_WRITES = Profile("stock-kills-at-writes", (faults.kill_at_write,), count=12, snapshots=True, load=70.0)
POWER = Profile("stock-power", (faults.power_loss,), count=6)
GROWTH = Profile("stock-growth", (faults.grow_apart,), count=2, spares=2)
BATCHES = PROFILES["small-batches"]

CASES = [
    Case(
        "A: a snapshot chunk moves the commit index over entries that nobody verified",
        ISOLATION,
        lambda found: found.oracle in SPLIT_HISTORY and found.doing == "snapshot",
    ),
    Case(
        "B: killed between the dump and the trim of the journal, the restart clears the journal",
        KILLS,
        lambda found: found.oracle == STORED and found.doing == "start, killed",
    ),
    Case(
        "C: a follower with a backlog over one batch never catches up",
        BATCHES,
        lambda found: found.oracle == "convergence after healing",
        frozenset({CUT, "commit with a durable majority"}),
    ),
    Case(
        "D: a follower cuts a tail that matches",
        BATCHES,
        lambda found: found.oracle == CUT and found.doing == "append_entries",
    ),
    Case(
        "D: and so an entry is committed that no majority holds",
        BATCHES,
        lambda found: found.oracle == "commit with a durable majority",
        frozenset({CUT}),
    ),
    Case(
        "E: two additions at once make a majority that shares no member with the one before",
        GROWTH,
        lambda found: found.oracle in {"leader completeness", *SPLIT_HISTORY},
        frozenset({CUT}),
    ),
    Case(
        "F: after a power loss a node does not start",
        POWER,
        lambda found: found.oracle == "a node never stops by itself",
        frozenset({STORED}),
    ),
    Case(
        "F: after a power loss a term has two leaders",
        POWER,
        lambda found: found.oracle == "one leader per term",
        frozenset({STORED}),
    ),
    Case(
        "G: the journal is emptied and filled again in place, and a kill in between leaves it so",
        KILLS_AT_WRITES,
        lambda found: (
            found.oracle in {STORED, "a node never stops by itself"} and "deleteEntriesTo" in found.doing
        ),
    ),
]


@pytest.fixture(autouse=True)
def _quiet_library() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.defect)
def test_the_stock_library_shows(case: Case) -> None:
    found: list[str] = []
    for seed in range(SEEDS):
        outcome = run(Task(case.profile.name, 3, seed), STOCK, case.profile, ignored=case.ignored)
        if outcome.violation is not None:
            if case.shown_by(outcome.violation):
                return
            found.append(f"{seed}: {outcome.violation}")
    pytest.fail(f"not shown by {SEEDS} seeds; found instead: {found}")
