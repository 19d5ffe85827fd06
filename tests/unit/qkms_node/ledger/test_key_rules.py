"""Keys in the ledger: creation, rotation, states, destruction."""

import pytest

from ledger_world import HOUR_MS, World, new, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EventType, VersionState
from qkms_node.ledger.snapshot import digest


def states(world: World, key_id: str = "payments") -> list[VersionState]:
    count = world.state.keys[key_id].version_count
    return [world.state.versions[key_id, n].state for n in range(1, count + 1)]


def test_a_key_needs_an_active_root() -> None:
    outcome = World().create()
    assert outcome.code == "PROPOSAL_STALE"


def test_creation_makes_version_one_active_and_primary() -> None:
    world = seeded()
    outcome = world.create()
    assert outcome.changed
    assert outcome.key is not None
    assert outcome.version is not None
    assert (outcome.key.primary, outcome.key.version_count) == (1, 1)
    assert outcome.version.state is VersionState.ACTIVE
    assert outcome.version.wrapped == b"", "answers never carry material, not even wrapped"
    assert world.state.events[-1].type is EventType.KEY_CREATED
    assert world.state.events[-1].revision == outcome.revision == world.state.revision


def test_a_second_key_of_the_same_name_is_refused() -> None:
    world = seeded()
    world.create()
    before = digest(world.state)
    assert world.create().code == "KEY_EXISTS"
    assert digest(world.state) == before


def test_rotation_supersedes_the_primary_and_keeps_it_for_decryption() -> None:
    world = seeded()
    world.create()
    outcome = world.rotate(1)
    assert outcome.key is not None
    assert outcome.key.primary == 2
    assert states(world) == [VersionState.DEACTIVATED, VersionState.ACTIVE]


def test_rotation_from_another_primary_is_a_conflict_that_says_both() -> None:
    world = seeded()
    world.create()
    world.rotate(1)
    before = digest(world.state)
    outcome = world.rotate(1)
    assert (outcome.code, outcome.metadata) == ("VERSION_CONFLICT", {"expected": "1", "actual": "2"})
    assert digest(world.state) == before


@pytest.mark.parametrize("version", [1, 3])
def test_version_numbers_are_contiguous(version: int) -> None:
    world = seeded()
    world.create()
    outcome = world.do(c.RotateKey(request(), "payments", 1, new(version)))
    assert outcome.code == "PROPOSAL_STALE"
    assert states(world) == [VersionState.ACTIVE]


def test_material_wrapped_under_an_old_epoch_is_proposed_again() -> None:
    world = seeded()
    world.create()
    world.root(2)
    assert world.do(c.RotateKey(request(), "payments", 1, new(2, epoch=1))).code == "PROPOSAL_STALE"


def test_a_required_grade_is_enforced() -> None:
    world = World()
    world.root(1, Grade.PQC)
    outcome = world.create(required=Grade.QKD_PQC)
    assert outcome.code == "GRADE_TOO_LOW"
    assert world.create(required=Grade.PQC).changed


def test_disable_and_enable_lead_back_to_where_a_version_was() -> None:
    world = seeded()
    world.create()
    world.rotate(1)
    for number, was in ((1, VersionState.DEACTIVATED), (2, VersionState.ACTIVE)):
        world.do(c.DisableVersion(request(), "payments", number))
        assert world.state.versions["payments", number].state is VersionState.SUSPENDED
        world.do(c.EnableVersion(request(), "payments", number))
        assert world.state.versions["payments", number].state is was


def test_disabling_twice_changes_nothing_and_says_so() -> None:
    world = seeded()
    world.create()
    world.do(c.DisableVersion(request(), "payments", 1))
    revision = world.state.revision
    outcome = world.do(c.DisableVersion(request(), "payments", 1))
    assert not outcome.changed
    assert outcome.note == "already SUSPENDED"
    assert world.state.revision == revision


def test_the_primary_cannot_be_destroyed() -> None:
    world = seeded()
    world.create()
    assert world.do(c.DestroyVersion(request(), "payments", 1, 0)).code == "VERSION_IS_PRIMARY"


def test_destruction_waits_for_its_grace_and_erases_the_material() -> None:
    world = seeded()
    world.create()
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, HOUR_MS))
    assert states(world)[0] is VersionState.DESTROY_SCHEDULED
    world.do(c.AdvanceTime(), later_ms=HOUR_MS - 10)
    assert world.state.versions["payments", 1].wrapped
    world.do(c.AdvanceTime(), later_ms=20)
    destroyed = world.state.versions["payments", 1]
    assert (destroyed.state, destroyed.wrapped) == (VersionState.DESTROYED, b"")
    assert world.do(c.RestoreVersion(request(), "payments", 1)).code == "ILLEGAL_TRANSITION"


def test_a_restored_version_is_suspended_and_survives_the_old_schedule() -> None:
    world = seeded()
    world.create()
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, HOUR_MS))
    world.do(c.RestoreVersion(request(), "payments", 1))
    world.do(c.DestroyVersion(request(), "payments", 1, 3 * HOUR_MS))
    world.do(c.AdvanceTime(), later_ms=2 * HOUR_MS)
    assert states(world)[0] is VersionState.DESTROY_SCHEDULED
    world.do(c.AdvanceTime(), later_ms=2 * HOUR_MS)
    assert states(world)[0] is VersionState.DESTROYED


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (c.RotateKey(request(), "nothing", 1, new(2)), "KEY_NOT_FOUND"),
        (c.DisableVersion(request(), "nothing", 1), "KEY_NOT_FOUND"),
        (c.DisableVersion(request(), "payments", 9), "VERSION_NOT_FOUND"),
        (c.EnableVersion(request(), "nothing", 1), "KEY_NOT_FOUND"),
        (c.DestroyVersion(request(), "payments", 9, 0), "VERSION_NOT_FOUND"),
        (c.RestoreVersion(request(), "payments", 1), "ILLEGAL_TRANSITION"),
    ],
)
def test_refusals_change_nothing(command: c.AnyCommand, code: str) -> None:
    world = seeded()
    world.create()
    before = digest(world.state)
    assert world.do(command).code == code
    assert digest(world.state) == before
