"""The search for an order finds one exactly where trying every order finds one, and says where none works."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from histories import KEY, Planned, answered, args_of, busy_key
from qkms_chaos.checking.history import Op, Outcome, Value
from qkms_chaos.checking.key_model import Call, State, Watched, calls, step
from qkms_chaos.checking.linearizability import Result, check_key

ALL = Watched(frozenset(), every=True)
READS, CHANGES = ("get", "encrypt", "decrypt"), ("disable", "enable", "stage", "activate", "abort", "destroy")
CALLS = ("rotate", "rotate", *READS, *CHANGES)


def an_order_exists(chosen: Sequence[tuple[Op, Call]], state: State) -> bool:
    """Every order that keeps to real time, with every choice of what is unknown; nothing forgotten."""
    must = [op for op, call in chosen if call.fixed]
    if not must:
        return True
    first_end = min(op.end for op in must if op.end is not None)
    for n, (op, call) in enumerate(chosen):
        if op.start <= first_end:
            after = step(state, call, ALL)
            if after is not None and an_order_exists([*chosen[:n], *chosen[n + 1 :]], after):
                return True
    return False


def small_history(rng: random.Random) -> list[Op]:
    """Up to seven operations as the ledger answers them, of which some are then falsified."""
    newest, planned = 1, [Planned("c0", "create", {"request_id": "r0"}, 0.0, 0.5, 1.0)]
    for n in range(1, rng.randint(2, 6) + 1):
        call = rng.choice(CALLS)
        start = rng.choice((1, 2, 3, 4, 5, 6))
        end = start + rng.choice((0.2, 0.5, 3.5))
        known = rng.random() < 0.8 or call in READS
        point = rng.uniform(start, end if known else end + 4.0)
        again = rng.choice(planned)
        if call in ("rotate", "disable", "enable") and again.call == call and rng.random() < 0.5:
            args = again.args
        else:
            args = args_of(call, rng, newest, f"r{n}")
        newest += call in ("rotate", "stage") and rng.random() < 0.6
        planned.append(
            Planned(f"c{n}", call, args, start, point if known or rng.random() < 0.6 else None, end, known)
        )
    ops = answered(planned)
    for _ in range(rng.choice((0, 1, 2, 3))):
        n = rng.randrange(1, len(ops))
        ops[n] = falsified(ops[n], rng)
    return ops


def falsified(op: Op, rng: random.Random) -> Op:
    match rng.randrange(4):
        case 0 if op.outcome is Outcome.OK:
            return replace(
                op, outcome=Outcome.REFUSED, answer={}, reason=rng.choice(("VERSION_CONFLICT", "KEY_EXISTS"))
            )
        case 1 if op.answer.get("replayed") is not None:
            return replace(op, answer={**op.answer, "replayed": not op.answer["replayed"]})
        case 2:
            return replace(op, start=min(op.start + rng.choice((-2.0, 0.1)), op.end or 0.0))
        case _:
            wrong = dict(op.answer)
            for name in {"version", "primary"} & wrong.keys():
                wrong[name] = int(str(wrong[name])) + rng.choice((-1, 1))
            return replace(op, answer=wrong)


def agrees(seed: int) -> Result:
    ops = small_history(random.Random(seed))
    exists = an_order_exists(calls(ops), State())
    result = check_key(KEY, ops).result
    assert (result is Result.LINEARIZABLE) == exists, "\n".join(map(str, ops))
    return result


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_the_search_agrees_with_trying_every_order(seed: int) -> None:
    agrees(seed)


def test_it_agrees_on_histories_of_both_kinds() -> None:
    results = [agrees(seed) for seed in range(100)]
    assert min(results.count(Result.LINEARIZABLE), results.count(Result.BROKEN)) > 20


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, 40_000, 4_000))
def test_it_agrees_on_many(first: int) -> None:
    for seed in range(first, first + 4_000):
        agrees(seed)


@pytest.mark.parametrize("seed", range(12))
def test_what_the_ledger_answered_has_an_order(seed: int) -> None:
    rng = random.Random(seed)
    ops = busy_key(seed, 60, rng.choice((2, 5, 12)), 0.1)
    found = check_key(KEY, ops)
    assert found.result is Result.LINEARIZABLE, found.words


def op(
    call: str,
    start: float,
    end: float | None,
    outcome: Outcome = Outcome.OK,
    reason: str = "",
    told: int | None = None,
    replayed: bool | None = None,
    level: str = "linearizable",
    **args: Value,
) -> Op:
    """An operation of a client of its own. `told`: the version of the answer; `level`: of a read."""
    answer: dict[str, Value] = {}
    if told is not None:
        answer["primary" if call in ("get", "activate") else "version"] = told
    if replayed is not None:
        answer["replayed"] = replayed
    if call in READS:
        args, answer = {"level": level, **args}, {"level": level, **answer}
    return Op(f"c{next(_numbers)}", call, KEY, start, end, outcome, args, answer, reason)


_numbers = itertools.count()
UNKNOWN, REFUSED = Outcome.UNKNOWN, Outcome.REFUSED
CREATED = op("create", 0, 1, told=1, request_id="create")
ROTATED = op("rotate", 2, 3, told=2, request_id="a", expected=1)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([op("get", 2.5, 4, told=1)], id="a read beside a rotation may miss it"),
        pytest.param([op("get", 4, 5, told=1, level="bounded")], id="a bounded answer says nothing of the order"),
        pytest.param([op("get", 3, 5, told=1)], id="what touches counts as concurrent"),
        pytest.param(
            [op("rotate", 4, 5, UNKNOWN, request_id="b", expected=2), op("get", 9, 10, told=3)],
            id="an unknown rotation came later",
        ),
        pytest.param(
            [op("rotate", 4, 5, UNKNOWN, request_id="b", expected=2), op("get", 9, 10, told=2)],
            id="an unknown rotation has not come",
        ),
        pytest.param(
            [op("rotate", 4, None, UNKNOWN, request_id="b", expected=2), op("get", 9, 10, told=3)],
            id="one that was never answered came",
        ),
        pytest.param(
            [
                op("rotate", 4, 5, UNKNOWN, request_id="b", expected=2),
                op("get", 5.5, 5.8, told=3),
                op("rotate", 6, 7, told=3, request_id="b", expected=2, replayed=True),
                op("get", 9, 10, told=3),
            ],
            id="a repetition is answered from memory",
        ),
        pytest.param(
            [op("rotate", 4, 5, told=3, request_id="b", expected=2, replayed=True)],
            id="the attempt that had the effect was of the same operation",
        ),
        pytest.param(
            [op("rotate", 2.5, 4, REFUSED, "VERSION_CONFLICT", expected=1)], id="beside the one that won"
        ),
        pytest.param(
            [op("rotate", 4, 5, REFUSED, "NO_QUORUM", request_id="b", expected=2)], id="no reason in the state"
        ),
        pytest.param(
            [op("disable", 4, 5, request_id="d", version=2), op("encrypt", 6, 7, REFUSED, "VERSION_DISABLED")],
            id="the primary version is disabled",
        ),
        pytest.param(
            [
                op("disable", 4, 5, UNKNOWN, request_id="d", version=1),
                op("decrypt", 6, 7, version=1, fingerprint="f"),
                op("decrypt", 8, 9, REFUSED, "VERSION_DISABLED", version=1, fingerprint="f"),
            ],
            id="an unknown disabling came between two decryptions",
        ),
    ],
)
def test_what_may_happen(history: list[Op]) -> None:
    found = check_key(KEY, [CREATED, ROTATED, *history])
    assert found.result is Result.LINEARIZABLE, found.words


@pytest.mark.parametrize(
    ("history", "words"),
    [
        pytest.param([op("get", 4, 5, told=1)], "get k1", id="a stale read that says it is none"),
        pytest.param([op("encrypt", 4, 5, told=1)], "encrypt k1", id="encrypted under the old version"),
        pytest.param([op("rotate", 4, 5, told=2, expected=1)], "version=2", id="two rotations gave one version"),
        pytest.param(
            [op("rotate", 4, 5, told=4, expected=2)], "version=4", id="a version nobody made lies between"
        ),
        pytest.param([op("rotate", 4, 5, told=3, expected=1)], "expected=1", id="rotated from the wrong version"),
        pytest.param(
            [op("rotate", 4, 5, REFUSED, "VERSION_CONFLICT", expected=2)],
            "VERSION_CONFLICT",
            id="refused for nothing",
        ),
        pytest.param(
            [op("rotate", 4, 5, REFUSED, "NO_QUORUM", request_id="b", expected=2), op("get", 6, 7, told=3)],
            "primary=3",
            id="refused, and yet it took effect",
        ),
        pytest.param(
            [op("get", 4, 5, told=3), op("rotate", 6, 7, UNKNOWN, request_id="b", expected=2)],
            "primary=3",
            id="seen before the unknown rotation began",
        ),
        pytest.param(
            [
                op("rotate", 4, 5, UNKNOWN, request_id="b", expected=2),
                op("get", 6, 7, told=3),
                op("get", 8, 9, told=2),
            ],
            "primary=2",
            id="an unknown rotation came and went",
        ),
        pytest.param(
            [
                op("rotate", 4, 5, told=3, request_id="b", expected=2),
                op("rotate", 6, 7, told=4, request_id="b", expected=2),
            ],
            "version=4",
            id="one request had two effects",
        ),
        pytest.param(
            [
                op("rotate", 4, 5, told=3, request_id="b", expected=2),
                op("rotate", 6, 7, told=3, request_id="b", expected=2, replayed=False),
            ],
            "replayed=False",
            id="a repetition that says it is none",
        ),
        pytest.param(
            [
                op("rotate", 4, 5, told=3, request_id="b", expected=2),
                op("rotate", 6, 7, REFUSED, "VERSION_CONFLICT", request_id="b", expected=2),
            ],
            "VERSION_CONFLICT",
            id="a repetition is held to the precondition",
        ),
        pytest.param(
            [op("disable", 4, 5, request_id="d", version=2), op("encrypt", 6, 7, told=2)],
            "disabled: 2",
            id="encrypted under a disabled version",
        ),
        pytest.param([op("create", 4, 5, told=1, request_id="z")], "create k1", id="created twice"),
        pytest.param(
            [op("get", 4, 5, REFUSED, "KEY_NOT_FOUND")], "KEY_NOT_FOUND", id="an acknowledged key is gone"
        ),
    ],
)
def test_what_must_not_happen(history: list[Op], words: str) -> None:
    found = check_key(KEY, [CREATED, ROTATED, *history])
    assert found.result is Result.BROKEN
    assert words in found.words


def test_the_explanation_names_only_what_waits_where_no_order_goes_on() -> None:
    before = [op("get", 3.1 + n / 100, 3.11 + n / 100, told=2) for n in range(50)]
    broken = [op("get", 10, 12, told=1), op("rotate", 11, 13, told=3, request_id="b", expected=2)]
    after = [op("get", 20 + n, 20.5 + n, told=3) for n in range(50)]
    words = check_key(KEY, [CREATED, ROTATED, *before, *broken, *after]).words
    assert "53 of 104" in words
    assert "the primary version is 3, versions 1 to 3, after" in words
    assert words.count("get k1") == 1, "the one that fits nowhere"
    assert words.count("rotate k1") == 1, "the last that fits"


def test_a_key_from_before_the_history_is_undecided() -> None:
    assert check_key(KEY, [op("get", 4, 5, told=1)]).result is Result.UNDECIDED


def test_past_the_budget_nothing_is_claimed() -> None:
    ops = busy_key(1, 200, 8, 0.0)
    assert check_key(KEY, ops, budget=3).result is Result.UNDECIDED
    assert check_key(KEY, ops).result is Result.LINEARIZABLE


def test_a_long_history_of_one_key() -> None:
    """10,000 operations of 32 clients, one in a hundred unknown."""
    ops = busy_key(7, 10_000, 32, 0.01)
    assert sum(one.outcome is Outcome.UNKNOWN for one in ops) > 20
    found = check_key(KEY, ops)
    assert found.result is Result.LINEARIZABLE, found.words


def test_one_stale_read_among_many_operations() -> None:
    ops = busy_key(8, 1_500, 32, 0.01)
    stale = [n for n, one in enumerate(ops) if one.call == "get" and one.outcome is Outcome.OK][-50]
    told = ops[stale].answer
    ops[stale] = replace(ops[stale], answer={**told, "primary": int(str(told["primary"])) - 40})
    found = check_key(KEY, ops)
    assert found.result is Result.BROKEN
    assert str(ops[stale]) in found.words
