"""Repeated, delayed and reordered requests: one effect, one answer."""

from ledger_world import HOUR_MS, new, request, seeded
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import VersionState
from qkms_node.ledger.snapshot import digest, restore, snapshot


def test_the_same_rotation_again_is_answered_from_memory() -> None:
    world = seeded()
    world.create()
    first = world.rotate(1, tag="once")
    again = world.do(c.RotateKey(request("once"), "payments", 1, new(3)))
    assert again.replayed
    assert not first.replayed
    assert (again.key, again.version, again.revision) == (first.key, first.version, first.revision)
    assert world.state.keys["payments"].version_count == 2


def test_a_replay_is_answered_before_any_precondition() -> None:
    world = seeded()
    first = world.create(tag="create")
    again = world.create(tag="create")
    assert again.replayed
    assert again.code == ""
    assert again.key == first.key


def test_the_same_id_for_another_request_is_refused() -> None:
    world = seeded()
    world.create()
    world.rotate(1, tag="once")
    other = c.Request("once", b"another fingerprint", "alice")
    outcome = world.do(c.RotateKey(other, "payments", 2, new(3)))
    assert outcome.code == "REQUEST_ID_REUSED"
    assert world.state.keys["payments"].primary == 2


def test_a_refused_request_may_succeed_later_with_its_id() -> None:
    world = seeded()
    world.create()
    assert world.rotate(7, tag="r").code == "VERSION_CONFLICT"
    assert world.rotate(1, tag="r").changed


def test_a_repetition_that_changed_nothing_does_not_take_effect_when_it_arrives_once_more() -> None:
    world = seeded()
    world.create()
    world.do(c.DisableVersion(request(), "payments", 1))
    assert world.do(c.DisableVersion(request("late"), "payments", 1)).note
    world.do(c.EnableVersion(request(), "payments", 1))
    delayed = world.do(c.DisableVersion(request("late"), "payments", 1))
    assert delayed.replayed
    assert world.state.versions["payments", 1].state is VersionState.ACTIVE


def test_requests_are_remembered_for_a_day_of_the_leaders_time() -> None:
    world = seeded()
    world.create()
    world.rotate(1, tag="once")
    world.do(c.AdvanceTime(), later_ms=24 * HOUR_MS - 10)
    assert world.rotate(1, tag="once").replayed
    world.do(c.AdvanceTime(), later_ms=HOUR_MS)
    assert "once" not in world.state.requests


def test_time_never_goes_backwards() -> None:
    world = seeded()
    world.create()
    high = world.state.time_ms
    world.time_ms -= 500_000
    world.rotate(1)
    assert world.state.time_ms == high


def test_memory_survives_a_snapshot() -> None:
    world = seeded()
    world.create()
    world.rotate(1, tag="once")
    world.state = restore(list(snapshot(world.state)))
    assert world.rotate(1, tag="once").replayed
    assert world.state.keys["payments"].version_count == 2


def test_a_snapshot_restores_an_equal_state_and_stands_still_while_it_is_read() -> None:
    world = seeded()
    world.create()
    world.do(c.DestroyVersion(request(), "payments", 1, 0))
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, HOUR_MS))
    before = digest(world.state)
    chunks = snapshot(world.state)
    taken = [next(chunks)]
    world.rotate(2)
    taken += chunks
    assert digest(restore(taken)) == before
    assert digest(world.state) != before
    assert restore(taken).next_due_ms() is not None


def test_the_digest_sees_every_table() -> None:
    seen = set()
    world = seeded()
    for change in (
        lambda: world.create(),
        lambda: world.rotate(1),
        lambda: world.do(c.DisableVersion(request(), "payments", 1)),
        lambda: world.do(c.RegisterNode("node-1", b"m", b"x")),
        lambda: world.do(c.RequestRoot(request(), 1)),
        lambda: world.stage(2),
        lambda: world.confirm(2, "node-1"),
    ):
        change()
        seen.add(digest(world.state))
    assert len(seen) == 7
