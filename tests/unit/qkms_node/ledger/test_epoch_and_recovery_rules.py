"""What commands do to leave epochs, to recovery, and to bring a backup in; each refusal changes nothing."""

import pytest

from ledger_world import NODES, World, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.member_records import MemberRecord, MemberRole
from qkms_node.ledger.records import EpochState, OfferRecord
from qkms_node.ledger.rewrap_rules import uses
from qkms_node.ledger.snapshot import digest, restore, snapshot
from qkms_node.ledger.state import State

SET = "0011223344556677"
OFFER = OfferRecord(b"m", b"x", b"n")


def moved(key_id: str = "payments", from_epoch: int = 1, version: int = 1) -> c.Rewrapped:
    return c.Rewrapped(key_id, version, from_epoch, b"rewrapped")


def two_epochs(grade: Grade = Grade.QKD_PQC) -> World:
    """A key under epoch 1, and epoch 2 active."""
    world = seeded()
    world.create()
    world.root(2, grade=grade)
    return world


def refused(world: World, command: c.AnyCommand, code: str) -> None:
    before = digest(world.state)
    outcome = world.do(command)
    assert (outcome.code, outcome.changed) == (code, False)
    assert digest(world.state) == before


def set_recovery(world: World, set_id: str = SET, expected: str = "") -> c.Outcome:
    return world.do(c.SetRecovery(request(), set_id, expected, 2, 3, b"m", b"x"))


def test_a_version_moves_once_whoever_moves_it() -> None:
    world = two_epochs()
    outcome = world.do(c.RewrapVersions(2, (moved(), moved("nobody"), moved(version=9))))
    assert (outcome.changed, outcome.note) == (True, "1 of 3 versions moved")
    version = world.state.versions["payments", 1]
    assert (version.epoch, version.wrapped, version.grade) == (2, b"rewrapped", Grade.QKD_PQC)
    again = world.do(c.RewrapVersions(2, (c.Rewrapped("payments", 1, 1, b"by another leader"),)))
    assert (again.changed, again.revision) == (False, outcome.revision)
    assert world.state.versions["payments", 1].wrapped == b"rewrapped"


def test_versions_move_to_the_active_epoch_alone_and_never_to_a_lower_grade() -> None:
    refused(two_epochs(), c.RewrapVersions(1, (moved(),)), "EPOCH_CONFLICT")
    lower = two_epochs(Grade.PQC)
    assert not lower.do(c.RewrapVersions(2, (moved(),))).changed
    assert lower.state.versions["payments", 1].epoch == 1


def test_destroyed_material_stays_destroyed() -> None:
    world = two_epochs()
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, 0))
    world.do(c.AdvanceTime())
    assert not world.do(c.RewrapVersions(2, (moved(),))).changed
    assert world.state.versions["payments", 1].wrapped == b""


def test_an_epoch_ends_when_nothing_needs_it() -> None:
    world = two_epochs()
    refused(world, c.DestroyRoot(1), "EPOCH_IN_USE")
    refused(world, c.DestroyRoot(2), "ILLEGAL_TRANSITION")
    refused(world, c.DestroyRoot(7), "EPOCH_NOT_FOUND")
    world.do(c.RewrapVersions(2, (moved(),)))
    ended = world.do(c.DestroyRoot(1)).root
    assert ended is not None
    assert (ended.state, ended.shares, ended.commitment) == (EpochState.DESTROYED, {}, b"commitment-1")
    assert world.do(c.DestroyRoot(1)).note == "already destroyed"
    assert world.state.qkd_key_epochs["q1"] == 1, "its QKD keys are not used again"


def test_an_activation_that_comes_after_the_end_of_its_epoch_changes_nothing() -> None:
    world = two_epochs()
    world.do(c.RewrapVersions(2, (moved(),)))
    assert world.do(c.DestroyRoot(1)).changed
    before = digest(world.state)
    assert world.do(c.ActivateRoot(1), 0).note == "epoch 1 is already DESTROYED"
    assert digest(world.state) == before


def test_what_needs_an_epoch_is_said() -> None:
    world = seeded()
    world.do(c.OpenSession(request(), "s", "bob", 1, OFFER, 0, 60_000))
    world.create()
    world.do(c.OpenImport(request(), "payments", "i", 2, b"public", 1, b"sealed", 60_000))
    world.root(2)
    message = world.do(c.DestroyRoot(1)).message
    for need in ("1 key versions", "1 open sessions", "1 import keys"):
        assert need in message
    world.do(c.AdvanceTime(), later_ms=60_001)
    world.do(c.RewrapVersions(2, (moved(),)))
    assert world.do(c.DestroyRoot(1)).changed


def test_a_staged_epoch_needs_the_one_that_it_is_based_on() -> None:
    world = seeded()
    world.stage(2)
    assert uses(world.state, 1) == "the staged epoch is based on it"


def test_an_open_session_keeps_its_epoch() -> None:
    world = seeded()
    world.do(c.OpenSession(request(), "s", "bob", 1, OFFER, 0, 60_000))
    world.root(2)
    refused(world, c.DestroyRoot(1), "EPOCH_IN_USE")
    world.do(c.AdvanceTime(), later_ms=60_001)
    assert world.do(c.DestroyRoot(1)).changed


def test_a_recovery_key_is_replaced_only_by_who_knows_the_present_one() -> None:
    world = seeded()
    assert set_recovery(world).changed
    assert set_recovery(world).note == "already set"
    refused(world, c.SetRecovery(request(), "f" * 16, "", 2, 3, b"m", b"x"), "RECOVERY_CONFLICT")
    world.do(c.SealToRecovery(1, SET, b"sealed"))
    assert world.do(c.SealToRecovery(1, SET, b"sealed again")).note == "already sealed"
    assert world.state.roots[1].recovery_sealed == b"sealed"
    assert set_recovery(world, "f" * 16, expected=SET).changed
    assert world.state.roots[1].recovery_sealed == b"", "old shares open nothing of the ledger as it is"
    for epoch, set_id in ((1, SET), (9, "f" * 16)):
        assert world.do(c.SealToRecovery(epoch, set_id, b"late")).note == "not wanted any more"


def test_an_epoch_is_sealed_to_the_recovery_key_before_it_is_active() -> None:
    world = seeded()
    set_recovery(world)
    world.stage(2)
    world.confirm(2, "node-1", "node-2")
    refused(world, c.ActivateRoot(2), "NOT_RECOVERABLE")
    world.do(c.SealToRecovery(2, SET, b"sealed"))
    assert world.do(c.ActivateRoot(2)).changed


def backed_up() -> tuple[State, list[bytes]]:
    """A ledger with a key, a session, a staged epoch and a recovery key, and its rows."""
    world = two_epochs()
    set_recovery(world)
    world.do(c.SealToRecovery(2, SET, b"sealed"))
    world.do(c.OpenSession(request(), "s", "bob", 1, OFFER, 0, 60_000))
    world.stage(3)
    return world.state, list(snapshot(world.state))


def finish(parts: int, same_cluster: bool = True, restore_id: str = "r") -> c.FinishRestore:
    return c.FinishRestore(request(), restore_id, parts, "node-2", ("node-1", "node-2"), same_cluster)


@pytest.mark.parametrize("same_cluster", [True, False])
def test_a_backup_takes_the_place_of_an_empty_ledger_in_one_entry(same_cluster: bool) -> None:
    backup, rows = backed_up()
    world = seeded()
    nodes = world.do(c.RegisterNode("node-1", b"m", b"x")) and dict(world.state.nodes)
    commitments = {1: b"own-1", 2: b"own-2"}
    assert world.do(c.RestorePart("r", 0, (), commitments)).changed
    assert world.do(c.RestorePart("r", 1, tuple(rows[:5]))).changed
    assert world.do(c.RestorePart("r", 1, tuple(rows[:5]))).note == "already there"
    assert world.do(c.RestorePart("r", 2, tuple(rows[5:]))).changed
    assert world.state.keys == {}
    revision, chain = world.state.revision, world.state.audit_length
    done = world.do(finish(3, same_cluster))
    assert done.changed
    state = world.state
    assert state.revision > max(revision, backup.revision)
    assert (state.keys, state.versions, state.sessions) == (backup.keys, backup.versions, backup.sessions)
    assert dict(state.nodes) == nodes
    assert (state.audit_length, len(state.audit)) == (chain + 1, chain + 1), "the chain goes on"
    assert state.access_revision == state.revision, "who may do what is looked up anew"
    assert (state.active_epoch, state.staged_epoch, state.last_epoch, state.root_needed) == (2, 0, 3, True)
    assert state.roots[3].state is EpochState.ABORTED
    root = state.roots[2]
    assert (root.commitment, root.shares, root.confirmed) == (b"own-2", {}, ("node-2",))
    assert root.recovery_sealed == (b"sealed" if same_cluster else b"")
    assert state.qkd_key_epochs.keys() == {"q1", "q2", "q3"}
    assert restore(snapshot(state)).restores["r"].finished
    assert world.do(finish(3, same_cluster)).note == "already restored"
    assert world.do(c.RestorePart("r", 0, (), commitments)).note == "already there"
    refused(world, c.RestorePart("another", 0, ()), "CLUSTER_NOT_EMPTY")


def test_a_restore_keeps_what_the_cluster_has_scheduled_and_the_ended_epochs_of_the_backup() -> None:
    source = two_epochs()
    source.do(c.RewrapVersions(2, (moved(),)))
    assert source.do(c.DestroyRoot(1)).changed
    rows = list(snapshot(source.state))
    world = seeded()
    founders = tuple(MemberRecord(n, f"{n}:1", f"{n}:2", n, MemberRole.VOTER) for n in NODES)
    assert world.do(c.FoundMembers(founders)).changed
    assert world.do(c.AddMember(request(), "node-4", "r:4", "a:4", "node-4", b"t" * 32, 3_600_000)).changed
    scheduled = world.state.due.copy()
    assert scheduled
    world.do(c.RestorePart("r", 0, tuple(rows), {2: b"commitment-2"}))
    assert world.do(finish(1)).changed
    states = {epoch: root.state for epoch, root in world.state.roots.items()}
    assert states == {1: EpochState.DESTROYED, 2: EpochState.ACTIVE}
    assert set(scheduled) <= set(world.state.due)
    assert digest(restore(snapshot(world.state))) == digest(world.state)


def test_a_state_that_is_no_longer_used_is_freed_bit_by_bit() -> None:
    world = two_epochs()
    for number in range(300):
        world.do(c.OpenSession(request(), f"s{number}", "bob", 1, OFFER, 0, 60_000))
    steps = sum(1 for _ in world.state.dismantle())
    assert steps > 3
    assert not world.state.due


def test_a_restore_is_refused_where_it_would_lose_or_lack_something() -> None:
    _, rows = backed_up()
    refused(two_epochs(), c.RestorePart("r", 0, ()), "CLUSTER_NOT_EMPTY")
    world = seeded()
    refused(world, c.RestorePart("r", 1, ()), "RESTORE_CONFLICT")
    refused(world, finish(1), "RESTORE_CONFLICT")
    world.do(c.RestorePart("r", 0, (), {1: b"c"}))
    world.do(c.RestorePart("r", 1, tuple(rows)))
    refused(world, c.RestorePart("r", 3, ()), "RESTORE_CONFLICT")
    refused(world, finish(1), "RESTORE_CONFLICT")
    refused(world, finish(2), "BACKUP_REJECTED")
    world.do(c.RestorePart("broken", 0, (), {1: b"c", 2: b"c"}))
    world.do(c.RestorePart("broken", 1, (*rows[:-1], b"\xc1")))
    refused(world, finish(2, restore_id="broken"), "BACKUP_REJECTED")
    refused(world, finish(2), "RESTORE_CONFLICT")
    world.create()
    refused(world, finish(2, restore_id="broken"), "CLUSTER_NOT_EMPTY")
