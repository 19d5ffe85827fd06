"""The checker of deliveries finds each planted breach, and nothing in what may happen."""

import pytest

from qkms_chaos.checking.history import Outcome
from qkms_chaos.workload.deliveries import Attempt, breaches

K1, K2 = {"k1": b"one"}, {"k2": b"two"}
DRAWN = Attempt("a", "draw", "node-1", (), 200, "", K1)
GIVEN = Attempt("b", "collect", "node-2", ("k1",), 200, "", K1)
NOT_THERE = Attempt("b", "collect", "node-3", ("k1",), 400, "not found", {})
NO_ANSWER = Attempt("b", "collect", "node-3", ("k1",), 0, "ReadError", {})
UNKNOWN = Attempt("b", "collect", "node-3", ("k1",), 503, "OUTCOME_UNKNOWN", {})
NOT_SENT = Attempt("b", "collect", "node-3", ("k1",), 0, "ConnectError", {})


@pytest.mark.parametrize(
    "attempts",
    [
        pytest.param([DRAWN, GIVEN, NOT_THERE], id="once, and then no more"),
        pytest.param([DRAWN, NOT_SENT, GIVEN], id="after a node that was down"),
        pytest.param([DRAWN, NO_ANSWER, NOT_THERE], id="perhaps consumed: no answer"),
        pytest.param([DRAWN, UNKNOWN, NOT_THERE], id="perhaps consumed: said so"),
        pytest.param([DRAWN], id="never asked for"),
        pytest.param([GIVEN], id="the answer to the draw was lost"),
    ],
)
def test_what_may_happen(attempts: list[Attempt]) -> None:
    assert breaches(attempts) == []


@pytest.mark.parametrize(
    ("attempts", "words"),
    [
        ([DRAWN, GIVEN, GIVEN], "given to b 2 times by collect"),
        ([DRAWN, Attempt("b", "collect", "node-2", ("k1",), 200, "", {"k1": b"other"})], "another key"),
        ([DRAWN, Attempt("a", "draw", "node-2", (), 200, "", K1), GIVEN], "given to a 2 times by draw"),
        ([DRAWN, Attempt("c", "draw", "node-2", (), 200, "", K1), GIVEN], "drawn by 2 SAEs"),
        ([DRAWN, GIVEN, Attempt("a", "draw", "node-1", (), 200, "", {"k2": b"one"})], "the same key"),
        ([DRAWN, NOT_THERE], "k1: lost to b"),
        ([DRAWN, NOT_SENT, NOT_THERE], "k1: lost to b"),
        ([DRAWN, GIVEN, Attempt("b", "collect", "node-2", ("k9",), 200, "", K2)], "got others"),
    ],
)
def test_a_planted_breach_is_found(attempts: list[Attempt], words: str) -> None:
    [found] = breaches(attempts)
    assert words in found


@pytest.mark.parametrize(
    ("attempt", "outcome", "reason"),
    [
        (DRAWN, Outcome.OK, ""),
        (NOT_THERE, Outcome.REFUSED, "not found"),
        (NO_ANSWER, Outcome.UNKNOWN, "ReadError"),
        (UNKNOWN, Outcome.UNKNOWN, "OUTCOME_UNKNOWN"),
        (NOT_SENT, Outcome.REFUSED, "UNAVAILABLE"),
    ],
)
def test_the_history_says_what_is_known_and_has_no_key(attempt: Attempt, outcome: Outcome, reason: str) -> None:
    op = attempt.operation("c1", "a/b", 1.0, 2.0)
    assert (op.call, op.outcome, op.reason, op.process) == (attempt.kind, outcome, reason, f"c1@{attempt.node}")
    assert (op.args.get("key_ids"), op.answer.get("key_ids")) == (
        "k1" if attempt.asked else None,
        "k1" if attempt.keys else None,
    )
    assert not any(key.decode() in str(op) for key in attempt.keys.values())
