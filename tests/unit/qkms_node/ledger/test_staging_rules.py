"""Staged versions in the ledger: evidence, validation, activation, abort, import."""

import pytest

from ledger_world import HOUR_MS, NODES, World, new, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EventType, VersionState
from qkms_node.ledger.snapshot import digest, restore, snapshot

STALENESS_MS = 30_000


def staged() -> World:
    world = seeded()
    world.create()
    assert world.stage_version().changed
    return world


def validated() -> World:
    world = staged()
    world.witness(2, *NODES[:2])
    assert world.validate(2).changed
    return world


def imported(world: World, import_id: str = "i1", ttl_ms: int = HOUR_MS) -> c.Outcome:
    return world.do(c.OpenImport(request(), "payments", import_id, 2, b"public", 1, b"sealed", ttl_ms))


def bring_in(world: World, import_id: str = "i1", tag: str = "") -> c.Outcome:
    version = world.state.keys["payments"].version_count + 1
    return world.do(c.ImportVersion(request(tag), "payments", import_id, new(version), NODES))


def test_a_staged_version_is_counted_and_not_used() -> None:
    world = staged()
    key, version = world.state.keys["payments"], world.state.versions["payments", 2]
    assert (key.primary, key.staged, key.version_count) == (1, 2, 2)
    assert (version.state, version.activate_ms) == (VersionState.PRE_ACTIVATION, 0)
    assert version.staging is not None
    assert version.staging.voters == NODES
    assert version.staging.activate_after_ms == version.create_ms + STALENESS_MS
    assert world.state.events[-1].type is EventType.VERSION_STATE_CHANGED


def test_one_version_is_staged_at_a_time_and_blocks_rotation() -> None:
    world = staged()
    for outcome in (world.stage_version(), world.rotate(1)):
        assert (outcome.code, outcome.metadata) == ("ROTATION_PENDING", {"version": "2"})


def test_evidence_is_recorded_once_per_voter_with_the_revision_it_had_applied() -> None:
    world = staged()
    first, second = world.witness(2, "node-3", "node-1")
    assert first.changed
    assert second.changed
    again = world.witness(2, "node-3")[0]
    assert (again.changed, again.note) == (False, "already settled")
    staging = world.state.versions["payments", 2].staging
    assert staging is not None
    assert list(staging.confirmed) == ["node-1", "node-3"]
    assert all(r >= staging.revision for r in staging.confirmed.values())
    assert ("payments", 2) in world.state.unconfirmed
    world.witness(2, "node-2")
    assert ("payments", 2) not in world.state.unconfirmed, "everybody has spoken"
    assert world.witness(2, "node-2")[0].note == "already settled"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (c.ConfirmVersion("payments", 2, "stranger", b"check-2", 10_000), "NOT_A_VOTER"),
        (c.ConfirmVersion("payments", 1, "node-1", b"check-1", 10_000), "NOT_A_VOTER"),
        (c.ConfirmVersion("payments", 2, "node-1", b"check-9", 10_000), "EVIDENCE_REFUSED"),
        (c.ConfirmVersion("payments", 2, "node-1", b"check-2", 1), "EVIDENCE_REFUSED"),
        (c.RejectVersion("payments", 2, "stranger", "I do not like it"), "NOT_A_VOTER"),
        (c.ConfirmVersion("nothing", 1, "node-1", b"", 1), "KEY_NOT_FOUND"),
    ],
)
def test_evidence_that_is_none_is_refused_and_changes_nothing(command: c.AnyCommand, code: str) -> None:
    world = staged()
    before = digest(world.state)
    assert world.do(command).code == code
    assert digest(world.state) == before


def test_validation_needs_a_quorum_and_says_who_is_missing() -> None:
    world = staged()
    world.witness(2, "node-2")
    outcome = world.validate(2)
    assert outcome.code == "VERSION_NOT_VALIDATED"
    assert outcome.metadata == {"confirmed": "node-2", "missing": "node-1,node-3"}
    world.witness(2, "node-1")
    assert world.validate(2).changed
    assert world.validate(2).note == "already validated"
    staging = world.state.versions["payments", 2].staging
    assert staging is not None
    assert staging.validate_ms


def test_activation_waits_until_caches_have_lapsed_then_swaps_the_primary() -> None:
    world = validated()
    early = world.activate(2, 1)
    assert early.code == "ACTIVATION_TOO_EARLY"
    assert 0 < int(early.metadata["wait_ms"]) < STALENESS_MS
    done = world.activate(2, 1, later_ms=STALENESS_MS)
    assert done.key is not None
    assert (done.key.primary, done.key.staged) == (2, 0)
    assert world.state.versions["payments", 1].state is VersionState.DEACTIVATED
    assert world.state.versions["payments", 2].state is VersionState.ACTIVE
    assert world.state.events[-1].type is EventType.KEY_ROTATED
    late = world.witness(2, "node-3")[0]
    assert late.changed, "evidence that comes after activation is recorded too"


def test_activating_twice_is_a_no_op_that_says_so() -> None:
    world = validated()
    world.activate(2, 1, later_ms=STALENESS_MS)
    revision = world.state.revision
    again = world.activate(2, 1)
    assert (again.changed, again.note, again.code) == (False, "already active", "")
    assert world.state.revision == revision


def test_activation_is_a_compare_and_swap() -> None:
    world = validated()
    outcome = world.activate(2, 7, later_ms=STALENESS_MS)
    assert (outcome.code, outcome.metadata) == ("VERSION_CONFLICT", {"expected": "7", "actual": "1"})


def test_a_version_is_not_activated_unvalidated() -> None:
    world = staged()
    world.witness(2, *NODES)
    assert world.activate(2, 1, later_ms=STALENESS_MS).code == "VERSION_NOT_VALIDATED"


def test_a_superseded_or_destroyed_version_is_not_activated_again() -> None:
    world = validated()
    world.activate(2, 1, later_ms=STALENESS_MS)
    assert world.activate(1, 2).code == "ILLEGAL_TRANSITION"
    assert world.validate(1).code == "ILLEGAL_TRANSITION"


def test_a_key_without_a_bound_on_staleness_does_not_wait() -> None:
    world = seeded()
    world.create()
    world.do(c.UpdateKey(request(), "payments", c.KeyChanges(max_staleness_ms=0)), later_ms=1)
    world.do(c.AdvanceTime(), later_ms=STALENESS_MS)
    world.stage_version()
    world.witness(2, *NODES)
    world.validate(2)
    assert world.activate(2, 1).changed


def test_lowering_the_bound_does_not_shorten_the_wait_for_nodes_that_have_not_heard_of_it() -> None:
    world = seeded()
    world.create()
    lowered_ms = world.time_ms + 1
    world.do(c.UpdateKey(request(), "payments", c.KeyChanges(max_staleness_ms=0)), later_ms=1)
    world.stage_version()
    staging = world.state.versions["payments", 2].staging
    assert staging is not None
    assert staging.activate_after_ms == lowered_ms + STALENESS_MS


def test_the_first_version_of_a_key_does_not_wait() -> None:
    world = seeded()
    empty = c.CreateKey(request(), "payments", "AES_256_GCM", 0, STALENESS_MS, {}, None)
    assert world.do(empty).version is None
    assert world.rotate(1).code == "VERSION_CONFLICT"
    world.stage_version()
    world.witness(1, *NODES)
    world.validate(1)
    outcome = world.activate(1, 0)
    assert outcome.key is not None
    assert outcome.key.primary == 1


def test_an_aborted_version_is_erased_and_its_number_never_used_again() -> None:
    world = validated()
    outcome = world.do(c.AbortVersion(request(), "payments", 2, "not needed"))
    assert outcome.version is not None
    gone = world.state.versions["payments", 2]
    assert (gone.state, gone.wrapped, gone.check_value) == (VersionState.DESTROYED, b"", b"")
    assert (gone.reason, gone.destroy_ms) == ("not needed", world.time_ms)
    assert world.state.keys["payments"].staged == 0
    assert not world.state.unconfirmed
    assert world.do(c.AbortVersion(request(), "payments", 2, "again")).note == "already aborted"
    assert world.activate(2, 1).code == "ILLEGAL_TRANSITION"
    rotated = world.rotate(1)
    assert rotated.version is not None
    assert rotated.version.version == 3


def test_a_voter_that_cannot_open_a_staged_version_ends_it() -> None:
    world = staged()
    outcome = world.do(c.RejectVersion("payments", 2, "node-2", "does not open"))
    assert outcome.version is not None
    assert (outcome.version.state, outcome.version.reason) == (VersionState.DESTROYED, "node-2: does not open")
    assert world.do(c.RejectVersion("payments", 2, "node-3", "neither")).note == "already settled"
    assert world.witness(2, "node-1")[0].note == "already settled"


def test_a_voter_that_cannot_open_a_version_that_is_active_already_is_recorded_once() -> None:
    world = validated()
    world.activate(2, 1, later_ms=STALENESS_MS)
    outcome = world.do(c.RejectVersion("payments", 2, "node-3", "does not open"))
    assert outcome.version is not None
    assert outcome.version.state is VersionState.ACTIVE
    staging = world.state.versions["payments", 2].staging
    assert staging is not None
    assert staging.rejected == {"node-3": "does not open"}
    assert not world.state.unconfirmed, "everybody has spoken"
    assert world.do(c.RejectVersion("payments", 2, "node-3", "does not open")).note == "already settled"


def test_a_compromised_staged_version_is_no_longer_staged() -> None:
    world = staged()
    world.do(c.CompromiseVersion(request(), "payments", 2, "seen on a bus"))
    assert world.state.keys["payments"].staged == 0
    assert not world.state.unconfirmed
    assert world.activate(2, 1).code == "ILLEGAL_TRANSITION"


def fallen_back() -> World:
    """A key whose primary is of grade QKD_PQC, and a version staged under an epoch of grade PQC."""
    world = seeded()
    world.create()
    world.root(2, Grade.PQC)
    world.stage_version()
    world.witness(2, *NODES)
    return world


def test_a_grade_required_meanwhile_stops_validation_and_activation() -> None:
    world = fallen_back()
    require = c.KeyChanges(required_grade=Grade.QKD_PQC)
    world.do(c.UpdateKey(request(), "payments", require))
    assert world.validate(2).code == "GRADE_TOO_LOW"
    world = fallen_back()
    assert world.validate(2).changed
    world.do(c.UpdateKey(request(), "payments", require))
    assert world.activate(2, 1, later_ms=STALENESS_MS).code == "GRADE_TOO_LOW"


def test_an_imported_version_is_staged_with_a_grade_of_its_own_and_uses_its_wrapping_key_up() -> None:
    world = seeded()
    world.create()
    opened = imported(world)
    assert opened.wrapping is not None
    assert opened.wrapping.sealed == b"", "answers never carry the private key, not even sealed"
    outcome = bring_in(world, tag="bring")
    assert outcome.version is not None
    assert (outcome.version.state, outcome.version.grade) == (VersionState.PRE_ACTIVATION, Grade.IMPORTED)
    assert not world.state.wrappings
    assert bring_in(world, tag="bring").replayed
    assert bring_in(world).code == "IMPORT_NOT_FOUND"


def test_a_wrapping_key_is_replaced_by_the_next_and_expires() -> None:
    world = seeded()
    world.create()
    imported(world, "i1", HOUR_MS)
    imported(world, "i2", 2 * HOUR_MS)
    assert bring_in(world, "i1").code == "IMPORT_NOT_FOUND"
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    assert "payments" in world.state.wrappings, "the expiry of the one replaced does not touch its successor"
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    assert not world.state.wrappings
    assert bring_in(world, "i2").code == "IMPORT_NOT_FOUND"


def test_imported_material_does_not_serve_where_a_grade_is_required() -> None:
    world = seeded()
    world.create(required=Grade.PQC)
    imported(world)
    assert bring_in(world).code == "GRADE_TOO_LOW"
    assert world.state.wrappings, "a refused import may be tried again"


def test_a_wrapping_key_is_sealed_under_the_active_epoch() -> None:
    world = seeded()
    world.create()
    world.root(2)
    assert imported(world).code == "PROPOSAL_STALE"


def test_a_disabled_key_takes_no_new_versions() -> None:
    world = validated()
    world.do(c.DisableKey(request(), "payments"))
    assert world.activate(2, 1, later_ms=STALENESS_MS).code == "KEY_DISABLED"
    world.do(c.AbortVersion(request(), "payments", 2, ""))
    for outcome in (world.stage_version(), world.rotate(1), imported(world)):
        assert outcome.code == "KEY_DISABLED"


def test_staging_survives_a_snapshot() -> None:
    world = staged()
    imported(world)
    world.witness(2, "node-1")
    world.state = restore(list(snapshot(world.state)))
    world.witness(2, "node-2")
    assert world.validate(2).changed
    assert world.state.wrappings["payments"].import_id == "i1"
