"""Settings of keys in the ledger: updates, etags, rotation by period, disabling, deletion, use."""

import pytest

from ledger_world import HOUR_MS, NODES, World, new, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EventType, VersionState
from qkms_node.ledger.snapshot import digest, restore, snapshot
from qkms_node.ledger.state import Refusal
from qkms_node.ledger.usage import Use, version_for


def update(world: World, expected_revision: int = 0, **changes: object) -> c.Outcome:
    return world.do(
        c.UpdateKey(request(), "payments", c.KeyChanges(**changes), expected_revision)  # type: ignore[arg-type]
    )


def created() -> World:
    world = seeded()
    world.create()
    return world


def due_rotation(world: World, tag: str = "", due_ms: int = 0) -> c.Outcome:
    key = world.state.keys["payments"]
    due_ms = due_ms or world.state.rotation_due["payments"]
    return world.do(c.RotateKey(request(tag), "payments", key.primary, new(key.version_count + 1), due_ms))


def refusal(world: World, number: int | None, use: Use) -> str:
    try:
        version_for(world.state, "payments", number, use)
    except Refusal as refused:
        return refused.code
    return ""


def test_an_update_sets_what_it_names_and_leaves_the_rest() -> None:
    world = created()
    outcome = update(world, labels={"team": "a"}, min_decrypt=1, deletion_protection=True)
    assert outcome.key is not None
    assert (outcome.key.labels, outcome.key.min_decrypt, outcome.key.min_encrypt) == ({"team": "a"}, 1, 0)
    assert outcome.key.deletion_protection
    assert outcome.key.max_staleness_ms == 30_000
    assert outcome.key.revision == outcome.revision == world.state.revision
    assert world.state.events[-1].type is EventType.KEY_UPDATED


def test_an_update_to_what_holds_already_changes_nothing_and_says_so() -> None:
    world = created()
    revision = world.state.revision
    assert update(world, max_staleness_ms=30_000).note == "already so"
    assert world.state.revision == revision


def test_an_update_at_another_revision_is_refused_with_both() -> None:
    world = created()
    revision = world.state.keys["payments"].revision
    assert update(world, expected_revision=revision, labels={"a": "1"}).changed
    outcome = update(world, expected_revision=revision, labels={"a": "2"})
    assert (outcome.code, outcome.metadata["expected"]) == ("ETAG_MISMATCH", str(revision))
    assert world.state.keys["payments"].labels == {"a": "1"}
    delete = world.do(c.DeleteKey(request(), "payments", revision))
    assert delete.code == "ETAG_MISMATCH"


@pytest.mark.parametrize("bound", ["min_decrypt", "min_encrypt"])
def test_a_least_version_is_at_most_the_primary_one(bound: str) -> None:
    world = created()
    assert update(world, **{bound: 2}).code == "MIN_VERSION_TOO_HIGH"
    world.rotate(1)
    assert update(world, **{bound: 2}).changed


def test_a_grade_above_that_of_the_primary_version_cannot_be_required() -> None:
    world = World()
    world.root(1, Grade.PQC)
    world.create()
    assert update(world, required_grade=Grade.QKD_PQC).code == "GRADE_TOO_LOW"
    world.root(2, Grade.QKD_PQC)
    world.rotate(1)
    assert update(world, required_grade=Grade.QKD_PQC).changed
    assert update(world, required_grade=0).changed


def test_a_key_falls_due_a_period_after_its_primary_version_was_activated() -> None:
    world = created()
    activated = world.state.versions["payments", 1].activate_ms
    outcome = update(world, rotation_period_ms=HOUR_MS)
    assert outcome.key is not None
    assert outcome.key.next_rotation_ms == activated + HOUR_MS
    world.do(c.AdvanceTime(), later_ms=HOUR_MS - 100)
    assert not world.state.rotation_due
    revision = world.state.revision
    world.do(c.AdvanceTime(), later_ms=200)
    assert world.state.rotation_due == {"payments": activated + HOUR_MS}
    assert world.state.revision == revision + 1


def test_two_leaders_make_one_rotation_of_one_due_time() -> None:
    world = created()
    update(world, rotation_period_ms=HOUR_MS)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    due_ms = world.state.rotation_due["payments"]
    first = due_rotation(world, tag="due")
    assert first.changed
    assert due_rotation(world, tag="due", due_ms=due_ms).replayed
    assert due_rotation(world, due_ms=due_ms).code == "PROPOSAL_STALE", "nor under another id"
    key = world.state.keys["payments"]
    assert (key.primary, key.version_count) == (2, 2)
    assert key.next_rotation_ms == world.state.versions["payments", 2].activate_ms + HOUR_MS
    assert not world.state.rotation_due


def test_a_rotation_by_hand_moves_the_next_one() -> None:
    world = created()
    update(world, rotation_period_ms=HOUR_MS)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS // 2)
    world.rotate(1)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS // 2 + 100)
    assert not world.state.rotation_due
    world.do(c.AdvanceTime(), later_ms=HOUR_MS // 2)
    assert world.state.rotation_due


def test_a_period_that_ends_ends_what_was_due() -> None:
    world = created()
    update(world, rotation_period_ms=HOUR_MS)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    assert world.state.rotation_due
    assert update(world, rotation_period_ms=0).changed
    assert not world.state.rotation_due
    assert world.state.keys["payments"].next_rotation_ms == 0


def test_a_shorter_period_makes_an_old_version_due_at_once_and_a_due_time_counts_once() -> None:
    world = created()
    update(world, rotation_period_ms=HOUR_MS)
    update(world, rotation_period_ms=2 * HOUR_MS)
    update(world, rotation_period_ms=HOUR_MS)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    revision = world.state.revision
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    assert world.state.revision == revision, "the schedules that were replaced change nothing"
    assert world.state.rotation_due


def test_what_is_due_survives_a_snapshot() -> None:
    world = created()
    update(world, rotation_period_ms=HOUR_MS)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    world.state = restore(list(snapshot(world.state)))
    assert due_rotation(world).changed


def test_disabling_a_key_stops_every_use_and_keeps_its_versions() -> None:
    world = created()
    assert world.do(c.DisableKey(request(), "payments")).changed
    assert world.do(c.DisableKey(request(), "payments")).note == "already disabled"
    assert refusal(world, None, Use.PROTECT) == refusal(world, 1, Use.PROCESS) == "KEY_DISABLED"
    assert world.state.versions["payments", 1].state is VersionState.ACTIVE
    assert world.do(c.EnableKey(request(), "payments")).changed
    assert world.do(c.EnableKey(request(), "payments")).note == "already enabled"
    assert refusal(world, None, Use.PROTECT) == ""


def test_a_protected_key_is_not_destroyed() -> None:
    world = created()
    world.rotate(1)
    update(world, deletion_protection=True)
    assert world.do(c.DestroyVersion(request(), "payments", 1, 0)).code == "DELETION_PROTECTED"
    assert world.do(c.DeleteKey(request(), "payments")).code == "DELETION_PROTECTED"
    update(world, deletion_protection=False)
    assert world.do(c.DestroyVersion(request(), "payments", 1, 0)).changed


def test_a_key_is_deleted_only_when_all_its_versions_are_destroyed_and_its_name_stays_taken() -> None:
    world = created()
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, HOUR_MS))
    world.do(c.RestoreVersion(request(), "payments", 1))
    world.do(c.DestroyVersion(request(), "payments", 1, 0))
    outcome = world.do(c.DeleteKey(request(), "payments"))
    assert (outcome.code, outcome.metadata) == ("KEY_HAS_VERSIONS", {"versions": "1", "first": "2"})
    world.do(c.DisableVersion(request(), "payments", 2))
    world.do(c.DestroyVersion(request(), "payments", 2, 0))
    deleted = world.do(c.DeleteKey(request("delete"), "payments"))
    assert deleted.key is not None
    assert deleted.key.delete_ms == world.time_ms
    assert world.state.events[-1].type is EventType.KEY_DELETED
    assert not world.state.keys
    assert not world.state.versions
    assert world.do(c.DeleteKey(request("delete"), "payments")).replayed
    assert world.do(c.RotateKey(request(), "payments", 2, new(3))).code == "KEY_DELETED"
    assert world.create().code == "KEY_EXISTS"
    world.do(c.AdvanceTime(), later_ms=2 * HOUR_MS)
    assert restore(list(snapshot(world.state))).tombstones == {"payments": deleted.key}


def test_a_rotation_that_was_scheduled_for_a_deleted_key_does_not_happen() -> None:
    world = created()
    update(world, rotation_period_ms=HOUR_MS)
    world.do(c.DisableVersion(request(), "payments", 1))
    world.do(c.DestroyVersion(request(), "payments", 1, 0))
    assert world.do(c.DeleteKey(request(), "payments")).changed
    before = digest(world.state)
    world.do(c.AdvanceTime(), later_ms=2 * HOUR_MS)
    assert not world.state.rotation_due
    assert before != digest(world.state), "the schedule itself is gone"


def test_a_destroyed_primary_is_replaced_by_the_next_rotation() -> None:
    world = created()
    world.do(c.DisableVersion(request(), "payments", 1))
    world.do(c.DestroyVersion(request(), "payments", 1, 0))
    world.do(c.AdvanceTime())
    assert refusal(world, None, Use.PROTECT) == "VERSION_DESTROYED"
    assert world.rotate(1).changed
    assert refusal(world, None, Use.PROTECT) == ""


def test_compromise_is_for_good() -> None:
    world = created()
    first = world.do(c.CompromiseVersion(request(), "payments", 1, "lost laptop"))
    assert first.version is not None
    assert (first.version.compromise_ms, first.version.reason) == (world.time_ms, "lost laptop")
    assert world.do(c.CompromiseVersion(request(), "payments", 1, "again")).note == "already compromised"
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, HOUR_MS))
    restored = world.do(c.RestoreVersion(request(), "payments", 1))
    assert restored.version is not None
    assert restored.version.state is VersionState.COMPROMISED
    assert world.do(c.EnableVersion(request(), "payments", 1)).code == "ILLEGAL_TRANSITION"


def test_a_version_called_compromised_while_its_destruction_is_scheduled_stays_so_when_restored() -> None:
    world = created()
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, HOUR_MS))
    marked = world.do(c.CompromiseVersion(request(), "payments", 1, "late news"))
    assert marked.changed
    assert marked.version is not None
    assert marked.version.state is VersionState.DESTROY_SCHEDULED
    world.do(c.RestoreVersion(request(), "payments", 1))
    assert world.state.versions["payments", 1].state is VersionState.COMPROMISED


def test_what_each_state_may_be_used_for() -> None:
    world = created()
    world.rotate(1)
    world.rotate(2)
    world.do(c.CompromiseVersion(request(), "payments", 1, ""))
    world.stage_version()
    seen = {n: (refusal(world, n, Use.PROTECT), refusal(world, n, Use.PROCESS)) for n in range(1, 6)}
    assert seen == {
        1: ("VERSION_COMPROMISED", "VERSION_COMPROMISED"),
        2: ("VERSION_DISABLED", ""),
        3: ("", ""),
        4: ("VERSION_STAGED", "VERSION_STAGED"),
        5: ("VERSION_NOT_FOUND", "VERSION_NOT_FOUND"),
    }
    world.do(c.DisableVersion(request(), "payments", 2))
    assert refusal(world, 2, Use.PROCESS) == "VERSION_DISABLED"
    update(world, allow_compromised_decrypt=True)
    assert (refusal(world, 1, Use.PROTECT), refusal(world, 1, Use.PROCESS)) == ("VERSION_COMPROMISED", "")


def test_least_versions_bound_what_is_used() -> None:
    world = created()
    world.rotate(1)
    update(world, min_encrypt=2)
    assert (refusal(world, 1, Use.PROCESS), refusal(world, None, Use.PROTECT)) == ("", "")
    update(world, min_decrypt=2)
    assert refusal(world, 1, Use.PROCESS) == "VERSION_TOO_OLD"
    assert refusal(world, 2, Use.PROCESS) == ""


def test_a_key_without_a_version_is_not_used() -> None:
    world = seeded()
    world.do(c.CreateKey(request(), "payments", "AES_256_GCM", 0, 30_000, {}, None, rotation_period_ms=HOUR_MS))
    assert world.state.keys["payments"].next_rotation_ms == 0
    assert refusal(world, None, Use.PROTECT) == "NO_PRIMARY_VERSION"
    assert world.do(c.DeleteKey(request(), "payments")).changed
    assert refusal(world, None, Use.PROTECT) == "KEY_DELETED"


@pytest.mark.parametrize("voters", [NODES, NODES[:1]])
def test_a_later_rotation_ends_the_collection_of_evidence(voters: tuple[str, ...]) -> None:
    world = created()
    world.do(c.StageVersion(request(), "payments", new(2), voters))
    world.witness(2, *voters[:2])
    world.validate(2)
    world.activate(2, 1, later_ms=30_000)
    world.rotate(2)
    assert not world.state.unconfirmed


def without_qkd(prefer_qkd: bool = True) -> World:
    """A world whose root fell back, and then a key was made."""
    world = seeded()
    world.root(2, Grade.PQC, fallback="kme-2 is down")
    settings = {"prefer_qkd": prefer_qkd}
    world.do(c.CreateKey(request(), "payments", "AES_256_GCM", 0, 30_000, {}, new(1, 2), **settings))
    return world


def rotation_for_qkd(world: World, tag: str = "", epoch: int = 0) -> c.Outcome:
    key = world.state.keys["payments"]
    drawn = new(key.version_count + 1, epoch or world.state.active_epoch)
    return world.do(c.RotateKey(request(tag), "payments", 1, drawn, for_qkd=True))


def test_a_key_that_prefers_qkd_awaits_it_while_its_primary_version_is_without() -> None:
    world = without_qkd()
    assert world.state.awaiting_qkd == {"payments": 1}
    assert rotation_for_qkd(world).code == "GRADE_TOO_LOW", "into another one without it is not rotated"
    world.rotate(1)
    assert world.state.awaiting_qkd == {"payments": 2}
    world.root(3)
    world.state = restore(list(snapshot(world.state)))
    assert world.state.awaiting_qkd == {"payments": 2}
    world.rotate(2)
    assert not world.state.awaiting_qkd, "a rotation by hand does as well"
    assert world.state.versions["payments", 3].grade is Grade.QKD_PQC


def test_two_leaders_make_one_rotation_for_qkd() -> None:
    world = without_qkd()
    world.root(3)
    assert rotation_for_qkd(world, tag="once").changed
    assert rotation_for_qkd(world, tag="once").replayed
    assert rotation_for_qkd(world).code == "PROPOSAL_STALE", "nor under another id"
    key = world.state.keys["payments"]
    assert (key.primary, key.version_count) == (2, 2)
    assert world.state.events[-1].type is EventType.KEY_ROTATED


def test_a_key_that_does_not_prefer_qkd_awaits_none_until_it_does() -> None:
    world = without_qkd(prefer_qkd=False)
    world.root(3)
    assert not world.state.awaiting_qkd
    assert rotation_for_qkd(world).code == "PROPOSAL_STALE"
    assert update(world, prefer_qkd=True).changed
    assert world.state.awaiting_qkd == {"payments": 1}
    assert update(world, prefer_qkd=False).changed
    assert not world.state.awaiting_qkd


def test_a_deleted_key_awaits_nothing() -> None:
    world = without_qkd()
    world.do(c.DisableVersion(request(), "payments", 1))
    world.do(c.DestroyVersion(request(), "payments", 1, 0))
    assert world.do(c.DeleteKey(request(), "payments")).changed
    assert not world.state.awaiting_qkd


def test_imported_material_is_not_rotated_away_for_qkd() -> None:
    world = without_qkd()
    world.do(c.OpenImport(request(), "payments", "i", 2, b"public", 2, b"sealed", 1_000_000))
    assert world.do(c.ImportVersion(request(), "payments", "i", new(2, 2), NODES)).changed
    world.witness(2, *NODES)
    world.validate(2)
    assert world.activate(2, 1, later_ms=30_000).changed
    assert not world.state.awaiting_qkd
