"""The oracles can fail: bugs planted in the real engine are each caught by the rule that they break."""

from collections.abc import Callable

import pytest

from qkms_chaos.simulation.disk import Disk, Inode
from qkms_chaos.simulation.run import Task, run
from qkms_chaos.simulation.state import Effects
from qkms_node.consensus import proposals
from qkms_node.consensus.configuration import ConfigurationLog
from qkms_node.consensus.members import Members
from qkms_node.consensus.read_rounds import Rounds
from qkms_node.consensus.replica import NotCommitted

SEEDS = 80
Plant = Callable[[pytest.MonkeyPatch], None]


def _no_fsync(patch: pytest.MonkeyPatch) -> None:
    def forget(self: Disk, inode: Inode) -> None: ...

    patch.setattr(Disk, "sync", forget)


def _local_reads(patch: pytest.MonkeyPatch) -> None:
    def confirm(self: Rounds) -> None:
        while self._rounds:
            _, index, requests = self._rounds.popleft()
            self.confirmed += [(asker, number, index) for asker, number in requests]

    patch.setattr(Rounds, "_finish", confirm)


def _unknown_called_definite(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(proposals, "OutcomeUnknown", NotCommitted)


def _a_change_outlives_its_entry(patch: pytest.MonkeyPatch) -> None:
    def keep(self: ConfigurationLog, index: int) -> None: ...

    patch.setattr(ConfigurationLog, "cut", keep)


def _any_two_decide(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "is_quorum", lambda self, ids: len(ids) >= 2)


def _no_deduplication(patch: pytest.MonkeyPatch) -> None:
    original = Effects.apply

    def apply(self: Effects, index: int, time_ms: int, command: bytes) -> bytes:
        before = dict(self.effects)
        self.effects.clear()
        answer = original(self, index, time_ms, command)
        self.effects = {**before, **self.effects}
        return answer

    patch.setattr(Effects, "apply", apply)


@pytest.mark.parametrize(
    ("plant", "profile", "rules"),
    [
        (_no_fsync, "power-loss", {"commit with a durable majority"}),
        (_local_reads, "partitions", {"barriers are linearizable"}),
        (_unknown_called_definite, "partitions", {"a definite failure has no effect"}),
        (_no_deduplication, "partitions", {"one effect per request"}),
        (_a_change_outlives_its_entry, "membership", {"convergence after healing"}),
        (_any_two_decide, "membership", {"leader completeness", "one leader per term"}),
    ],
)
def test_a_planted_bug_is_caught(
    plant: Plant, profile: str, rules: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(SEEDS):
        violation = run(Task(profile, 3, seed)).violation
        if violation is not None:
            assert violation.oracle in rules, violation
            return
    pytest.fail(f"not caught by {SEEDS} seeds")
