"""Root epochs in the ledger: stage, confirm, activate, abort, share anew; each idempotent."""

import pytest

from ledger_world import NODES, World, request, seeded, share
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import EpochState, EventType
from qkms_node.ledger.snapshot import digest, restore, snapshot


def test_an_epoch_is_activated_by_a_quorum_of_confirmations() -> None:
    world = World()
    world.stage(1)
    assert world.do(c.ActivateRoot(1)).code == "NOT_CONFIRMED"
    world.confirm(1, "node-1")
    assert world.do(c.ActivateRoot(1)).code == "NOT_CONFIRMED"
    world.confirm(1, "node-2")
    assert world.do(c.ActivateRoot(1)).changed
    assert world.state.active_epoch == 1
    assert world.state.events[-1].type is EventType.ROOT_ACTIVATED


@pytest.mark.parametrize("again", ["stage", "confirm", "activate"])
def test_each_step_repeated_changes_nothing_and_says_so(again: str) -> None:
    world = World()
    world.stage(1, ids=("q1",))
    world.confirm(1, *NODES)
    world.do(c.ActivateRoot(1))
    before = digest(world.state)
    outcome = {
        "stage": lambda: world.stage(1, base=0, ids=("q1",)),
        "confirm": lambda: world.confirm(1, "node-2")[0],
        "activate": lambda: world.do(c.ActivateRoot(1)),
    }[again]()
    assert not outcome.changed
    assert outcome.code == ""
    assert outcome.note
    assert digest(world.state) == before


def test_a_late_confirmation_of_an_active_epoch_counts() -> None:
    world = seeded()
    assert world.confirm(1, "node-3")[0].changed
    assert world.state.roots[1].confirmed == NODES


def test_a_redelivered_qkd_key_seeds_no_second_epoch() -> None:
    world = World()
    world.stage(1, ids=("q1",))
    world.do(c.AbortRoot(1, "test"))
    outcome = world.stage(2, ids=("q1",))
    assert (outcome.code, outcome.metadata["key_id"]) == ("KEY_REPLAYED", "q1")
    assert world.state.staged_epoch == 0
    assert world.stage(2, ids=("q2",)).changed


def test_an_aborted_epoch_leaves_its_number_behind() -> None:
    world = World()
    world.stage(1)
    world.do(c.AbortRoot(1, "no quorum"))
    assert world.do(c.AbortRoot(1, "again")).note == "already aborted"
    assert world.do(c.ActivateRoot(1)).code == "EPOCH_ABORTED"
    assert world.confirm(1, "node-2")[0].code == "EPOCH_ABORTED"
    other = c.StageRoot(1, 0, Grade.PQC, "node-2", b"other", (), NODES, {})
    assert world.do(other).code == "EPOCH_CONFLICT"
    assert world.stage(2).changed


def test_one_epoch_is_staged_at_a_time_on_the_active_one() -> None:
    world = seeded()
    world.stage(2)
    assert world.stage(3).code == "ROTATION_PENDING"
    world.do(c.AbortRoot(2, "test"))
    assert world.stage(3, base=0).code == "EPOCH_CONFLICT"


def test_activation_retires_the_epoch_before_and_answers_the_request() -> None:
    world = seeded()
    assert world.do(c.RequestRoot(request(), 1)).changed
    assert world.do(c.RequestRoot(request(), 1)).note == "already requested"
    assert world.do(c.RequestRoot(request(), 7)).code == "EPOCH_CONFLICT"
    world.root(2)
    assert world.state.roots[1].state is EpochState.RETIRED
    assert not world.state.root_requested
    assert world.do(c.AbortRoot(2, "late")).code == "ILLEGAL_TRANSITION"


def test_a_wrong_commitment_or_a_stranger_confirms_nothing() -> None:
    world = World()
    world.stage(1)
    assert world.do(c.ConfirmRoot(1, "node-2", b"other")).code == "COMMITMENT_MISMATCH"
    assert world.do(c.ConfirmRoot(1, "node-9", b"commitment-1")).code == "NOT_A_VOTER"
    assert world.do(c.ConfirmRoot(5, "node-2", b"commitment-5")).code == "EPOCH_NOT_FOUND"
    assert world.state.roots[1].confirmed == ()


def test_a_rejected_share_blocks_activation_until_confirmed() -> None:
    world = World()
    world.stage(1)
    world.confirm(1, "node-1", "node-2")
    assert world.do(c.RejectShare(1, "node-3", b"sealed", "wrong key from KME kme-3")).changed
    assert world.do(c.RejectShare(1, "node-3", b"sealed", "again")).note == "already settled"
    assert world.do(c.ActivateRoot(1)).code == "NOT_CONFIRMED"
    world.confirm(1, "node-3")
    assert world.do(c.ActivateRoot(1)).changed


def test_a_share_is_replaced_only_where_one_is_wanted() -> None:
    world = seeded()
    fresh = share("node-3", b"fresh", "q9")
    assert world.do(c.ReplaceShare(1, fresh)).note == "no share is wanted"
    world.do(c.RejectShare(1, "node-3", b"sealed", "lost"))
    assert world.do(c.ReplaceShare(1, fresh)).changed
    assert world.state.roots[1].shares["node-3"] == fresh
    assert world.do(c.RejectShare(1, "node-3", b"sealed", "a late complaint of the old one")).note
    world.do(c.RejectShare(1, "node-3", b"fresh", "lost again"))
    assert world.do(c.ReplaceShare(1, fresh)).code == "KEY_REPLAYED"


def test_a_share_without_a_qkd_key_is_replaced_too() -> None:
    world = World()
    world.root(1, grade=Grade.PQC)
    world.do(c.RejectShare(1, "node-3", b"sealed", "lost"))
    assert world.do(c.ReplaceShare(1, share("node-3", b"fresh"))).changed
    assert not world.state.qkd_key_epochs


def test_a_node_that_lost_its_root_is_no_longer_counted_as_confirmed() -> None:
    world = seeded()
    world.do(c.RejectShare(1, "node-2", b"sealed", "lost its store"))
    assert "node-2" not in world.state.roots[1].confirmed


def test_registration_is_idempotent() -> None:
    world = World()
    assert world.do(c.RegisterNode("node-1", b"m", b"x")).changed
    assert world.do(c.RegisterNode("node-1", b"m", b"x")).note == "already registered"
    assert world.do(c.RegisterNode("node-1", b"m2", b"x")).changed


def test_a_share_below_the_grade_of_its_epoch_is_refused() -> None:
    world = World()
    bare = c.StageRoot(1, 0, Grade.QKD_PQC, "node-1", b"commitment-1", ("q1",), NODES, {"node-2": share("node-2")})
    assert world.do(bare).code == "SHARE_BELOW_GRADE"
    foreign = {"node-2": share("node-2", qkd_key_id="q9")}
    staged = c.StageRoot(1, 0, Grade.QKD_PQC, "node-1", b"commitment-1", ("q1",), NODES, foreign)
    assert world.do(staged).code == "SHARE_BELOW_GRADE"
    world.root(1)
    world.do(c.RejectShare(1, "node-3", b"sealed", "lost"))
    assert world.do(c.ReplaceShare(1, share("node-3", b"fresh"))).code == "SHARE_BELOW_GRADE"


def refused(world: World) -> list[str]:
    return [event.name for event in world.state.events if event.type is EventType.ROOT_REFUSED]


def test_a_refusal_answers_a_request_once_and_is_told_and_audited() -> None:
    world = seeded()
    world.do(c.RequestRoot(request("asked"), 1))
    assert world.do(c.RefuseRoot(1, "kme-2 has no key")).changed
    assert not world.state.root_requested
    assert world.state.root_refusals[1].reason == "kme-2 has no key"
    before = digest(world.state)
    assert world.do(c.RefuseRoot(1, "kme-2 has no key yet")).note == "already refused"
    assert world.do(c.RequestRoot(request("asked"), 1)).replayed
    assert digest(world.state) == before
    assert refused(world) == ["rootEpochs/1"]
    assert sum(b"refuse_root" in line and b"rootEpochs/1" in line for line in world.state.audit) == 1
    assert restore(list(snapshot(world.state))).root_refusals == world.state.root_refusals


def test_whoever_asks_anew_is_answered_anew() -> None:
    world = seeded()
    world.do(c.RequestRoot(request(), 1))
    world.do(c.RefuseRoot(1, "no keys"))
    assert world.do(c.RequestRoot(request(), 1)).changed
    assert not world.state.root_refusals
    assert world.do(c.RefuseRoot(1, "no keys")).changed
    assert refused(world) == ["rootEpochs/1"] * 2


def test_an_epoch_that_comes_ends_a_refusal_and_a_late_refusal_says_nothing() -> None:
    world = seeded()
    world.do(c.RefuseRoot(1, "no keys"))
    assert world.do(c.RefuseRoot(7, "of another epoch")).note
    world.stage(2)
    assert not world.state.root_refusals
    assert world.do(c.RefuseRoot(1, "late")).note
    world.confirm(2, *NODES)
    world.do(c.ActivateRoot(2))
    assert world.do(c.RefuseRoot(1, "later")).note
    assert refused(world) == ["rootEpochs/1"]


def test_what_the_cluster_needs_is_refused_and_stays_needed() -> None:
    world = seeded()
    world.state.root_needed = True
    world.do(c.RequestRoot(request(), 1))
    assert world.do(c.RefuseRoot(1, "no keys")).changed
    assert (world.state.root_requested, world.state.root_needed) == (False, True)
    world.root(2)
    assert not world.state.root_needed
