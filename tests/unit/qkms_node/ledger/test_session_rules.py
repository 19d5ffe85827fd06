"""Sessions in the ledger: offered, answered, confirmed, closed, expired."""

from collections.abc import Callable

import pytest

from ledger_world import HOUR_MS, World, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import AnswerRecord, OfferRecord, SessionState
from qkms_node.ledger.snapshot import digest, restore, snapshot

OFFER = OfferRecord(b"m", b"x", b"n")
ANSWER = AnswerRecord(b"ct", b"x", b"n")


def opened(world: World, principal: str = "alice", offer: OfferRecord = OFFER, required: int = 0) -> c.Outcome:
    return world.do(c.OpenSession(request(principal=principal), "s1", "bob", 1, offer, required, HOUR_MS))


def answered(world: World, principal: str = "bob", answer: AnswerRecord = ANSWER) -> c.Outcome:
    return world.do(c.AnswerSession(request(principal=principal), "s1", answer))


def confirmed(world: World, principal: str, tag: bytes) -> c.Outcome:
    return world.do(c.ConfirmSession(request(principal=principal), "s1", tag))


def without_memory(world: World) -> bytes:
    """The digest of the state, had it no memory of requests."""
    state = restore(snapshot(world.state))
    state.requests.clear()
    return digest(state)


def test_the_whole_life_and_every_step_twice() -> None:
    world = seeded()
    steps: tuple[Callable[[], c.Outcome], ...] = (
        lambda: opened(world),
        lambda: answered(world),
        lambda: confirmed(world, "alice", b"a"),
        lambda: confirmed(world, "bob", b"b"),
        lambda: world.do(c.CloseSession(request(principal="bob"), "s1")),
    )
    for step in steps:
        assert step().changed
        before = without_memory(world)
        again = step()
        assert not again.changed
        assert again.note
        assert not again.code
        assert without_memory(world) == before
    assert world.state.sessions["s1"].state is SessionState.CLOSED


def test_both_tags_make_a_session_confirmed() -> None:
    world = seeded()
    opened(world)
    answered(world)
    states = []
    for principal in ("bob", "alice"):
        confirmed(world, principal, principal.encode())
        states.append(world.state.sessions["s1"].state)
    assert states == [SessionState.ANSWERED, SessionState.CONFIRMED]


def test_another_offer_answer_or_tag_is_refused() -> None:
    world = seeded()
    opened(world)
    assert opened(world, offer=OfferRecord(b"m2", b"x", b"n")).code == "SESSION_EXISTS"
    assert opened(world, principal="mallory").code == "SESSION_EXISTS"
    answered(world)
    assert answered(world, answer=AnswerRecord(b"ct2", b"x", b"n")).code == "SESSION_STATE"
    confirmed(world, "alice", b"a")
    assert confirmed(world, "alice", b"other").code == "SESSION_STATE"


def test_strangers_learn_nothing_and_only_the_responder_answers() -> None:
    world = seeded()
    opened(world)
    assert answered(world, principal="mallory").code == "SESSION_NOT_FOUND"
    assert answered(world, principal="alice").code == "SESSION_STATE"
    assert confirmed(world, "alice", b"a").code == "SESSION_STATE"
    assert world.do(c.CloseSession(request(principal="mallory"), "s1")).code == "SESSION_NOT_FOUND"
    assert world.do(c.CloseSession(request(), "s9")).code == "SESSION_NOT_FOUND"


def test_a_session_expires_and_is_forgotten() -> None:
    world = seeded()
    opened(world)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS + 1)
    assert world.state.sessions["s1"].state is SessionState.EXPIRED
    assert answered(world).code == "SESSION_STATE"
    world.do(c.AdvanceTime(), later_ms=HOUR_MS + 1)
    assert "s1" not in world.state.sessions


def test_a_closed_session_stays_closed_at_its_expiry() -> None:
    world = seeded()
    opened(world)
    world.do(c.CloseSession(request(), "s1"))
    world.do(c.AdvanceTime(), later_ms=HOUR_MS + 1)
    assert world.state.sessions["s1"].state is SessionState.CLOSED


@pytest.mark.parametrize("grade", [Grade.QKD, Grade.QKD_PQC])
def test_a_required_grade_is_enforced(grade: Grade) -> None:
    world = World()
    assert opened(world).code == "ROOT_NOT_READY"
    world.root(1, Grade.PQC)
    assert opened(world, required=grade).code == "GRADE_TOO_LOW"
    assert opened(world, required=Grade.PQC).changed


def test_a_session_keeps_the_epoch_it_was_offered_under() -> None:
    world = seeded()
    opened(world)
    world.root(2)
    answered(world)
    assert world.state.sessions["s1"].epoch == 1
