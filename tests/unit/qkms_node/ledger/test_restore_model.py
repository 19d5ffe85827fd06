"""Restores in any order, of backups whole, torn and without their roots: all of a backup or nothing of it."""

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from ledger_machine import ANY_TIME, LedgerMachine, run
from ledger_world import World, new, request, seeded
from qkms_node.ledger import commands as c
from qkms_node.ledger.snapshot import snapshot

PARTS = 2
restores = st.sampled_from(("r", "r", "s"))
rarely = st.sampled_from((False, False, True))


def backup() -> list[bytes]:
    """The rows of a ledger with a key under epoch 1."""
    world = seeded()
    world.create("saved")
    return list(snapshot(world.state))


ROWS = backup()


class RestoresInAnyOrder(LedgerMachine):
    """One restore is gathered at a time; it counts when it is finished, in an empty cluster only."""

    COMMANDS = frozenset({c.RestorePart, c.FinishRestore, c.CreateKey, c.AdvanceTime})

    def __init__(self) -> None:
        super().__init__()
        self.gathering = ""
        self.next_part = 0
        self.torn = self.rootless = False
        self.finished: set[str] = set()
        self.keys: set[str] = set()
        self.had_keys = False

    def beginning(self) -> World:
        return seeded()

    @rule(
        name=restores,
        part=st.integers(0, PARTS),
        torn=st.sampled_from((False, False, True)),
        rootless=st.booleans(),
    )
    def give_a_part(self, name: str, part: int, torn: bool, rootless: bool) -> None:
        self.give(name, part, torn, rootless)

    def give(self, name: str, part: int, torn: bool, rootless: bool) -> None:
        mine = name == self.gathering
        done_before = name in self.finished or (mine and part < self.next_part)
        refusal = ""
        if not done_before and self.had_keys:
            refusal = "CLUSTER_NOT_EMPTY"
        elif not done_before and part and not (mine and part == self.next_part):
            refusal = "RESTORE_CONFLICT"
        half = len(ROWS) // 2
        rows = (ROWS[:half], ROWS[half:], [])[part]
        rows = [*rows, b"\xc1"] if torn else rows
        commitments = {} if rootless else {1: b"own"}
        command = c.RestorePart(name, part, tuple(rows), commitments if part == 0 else {})
        self.do(command, refusal, changes=not done_before)
        if refusal or done_before:
            return
        if part == 0:
            self.gathering, self.torn, self.rootless = name, torn, rootless
        self.torn = self.torn or torn
        self.next_part = part + 1

    @rule(name=restores, parts=st.integers(1, PARTS))
    def finish(self, name: str, parts: int) -> None:
        refusal = ""
        if name not in self.finished:
            if self.had_keys:
                refusal = "CLUSTER_NOT_EMPTY"
            elif name != self.gathering or parts != self.next_part:
                refusal = "RESTORE_CONFLICT"
            elif self.torn or self.rootless or parts != PARTS:
                refusal = "BACKUP_REJECTED"
        command = c.FinishRestore(request(), name, parts, "node-1", ("node-1",), True)
        self.do(command, refusal, changes=name not in self.finished)
        if not refusal and name not in self.finished:
            self.finished, self.gathering = {name}, ""
            self.keys = {"saved"}
            self.had_keys = True

    @rule(name=restores)
    def restore_whole(self, name: str) -> None:
        for part in range(PARTS):
            self.give(name, part, False, False)
        self.finish(name, PARTS)

    @rule(key_id=st.sampled_from(("own", "saved")))
    def create_key(self, key_id: str) -> None:
        epoch = self.world.state.active_epoch
        taken = key_id in self.keys
        command = c.CreateKey(request(), key_id, "AES_256_GCM", 0, 1_000, {}, new(1, epoch))
        self.do(command, "KEY_EXISTS" if taken else "")
        if not taken:
            self.keys.add(key_id)
            self.had_keys = True

    @rule(later_ms=ANY_TIME)
    def wait(self, later_ms: int) -> None:
        self.pass_time(later_ms)

    @invariant()
    def nothing_of_a_backup_counts_before_all_of_it_does(self) -> None:
        state = self.world.state
        assert set(state.keys) == self.keys
        assert (("saved", 1) in state.versions) == ("saved" in self.keys)
        assert bool(state.restore_parts) == bool(self.gathering)


def test_restores_in_any_order() -> None:
    run(RestoresInAnyOrder, only_ever=frozenset({c.AdvanceTime}), examples=20)
