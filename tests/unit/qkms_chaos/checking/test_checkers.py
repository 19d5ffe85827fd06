"""Each checker finds what was planted for it, and nothing in what only comes near."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from histories import busy_key
from qkms_chaos.checking import last_looks, root_keys, sessions, staleness, uses, versions
from qkms_chaos.checking.history import Op, Outcome, Value
from qkms_chaos.checking.judgements import judgements

BOUND_S = 2.0
OK, REFUSED, UNKNOWN = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN
Values = dict[str, Value]
Checker = Callable[[Sequence[Op]], list[str]]


def op(
    process: str,
    call: str,
    start: float,
    end: float | None,
    args: Values | None = None,
    answer: Values | None = None,
    outcome: Outcome = OK,
    reason: str = "",
) -> Op:
    return Op(
        process, call, "k1", start, end, outcome, args or {}, answer or {}, reason, process.rpartition("@")[2]
    )


def get(
    process: str, start: float, primary: int, revision: int = 0, level: str = "linearizable", **more: Value
) -> Op:
    answer: Values = {"primary": primary, "revision": revision, "level": level, **more}
    return op(process, "get", start, start + 0.1, {"level": level, "bound_ms": 1000}, answer)


def change(call: str, start: float, end: float, version: int, outcome: Outcome = OK, process: str = "admin") -> Op:
    return op(process, call, start, end, {"request_id": f"{call} {start}", "version": version}, {}, outcome)


def encrypt(process: str, start: float, version: int, level: str = "linearizable", **more: Value) -> Op:
    answer: Values = {"version": version, "level": level, **more}
    return op(process, "encrypt", start, start + 0.1, {"level": level, "bound_ms": 1000}, answer)


def decrypt(process: str, start: float, version: int, reason: str = "", **answer: Value) -> Op:
    args: Values = {"version": version, "fingerprint": "f"}
    told: Values = {} if reason else {"fingerprint": "f", "level": "bounded", "staleness_ms": 5.0, **answer}
    return op(process, "decrypt", start, start + 0.1, args, told, REFUSED if reason else OK, reason)


def rotate(
    start: float, version: int | None, request_id: str = "", process: str = "admin", expected: int | None = None
) -> Op:
    args: Values = {"request_id": request_id or f"rotate {start}", "expected": expected or (version or 0) - 1}
    answer: Values = {"version": version} if version else {}
    return op(process, "rotate", start, start + 0.1, args, answer, OK if version else UNKNOWN)


def rotated_under(start: float, epoch: int, *qkd_keys: str) -> Op:
    return op("admin", "rotate", start, start + 0.1, {}, {"epoch": epoch, "qkd_keys": " ".join(qkd_keys)})


def activate(start: float, version: int, **more: Value) -> Op:
    args: Values = {"request_id": f"activate {start}", "version": version}
    return op("admin", "activate", start, start + 0.1, args, {"primary": version, **more})


STAGED = op("admin", "stage", 1, 1.1, {"request_id": "stage"}, {"version": 2})
CREATED = op("admin", "create", 0, 0.1, {"request_id": "create"}, {"version": 1})
LABELS: Checker = partial(staleness.labels, max_staleness_s=BOUND_S)
REVOKED: Checker = partial(uses.revoked, max_staleness_s=BOUND_S)
DECRYPTABLE: Checker = partial(uses.decryptable, max_staleness_s=BOUND_S)

PLANTED = [
    pytest.param(
        sessions.revisions, [get("a", 1, 1, 9), get("a", 2, 1, 8)], "8 after it had seen 9", id="revision back"
    ),
    pytest.param(
        sessions.revisions,
        [get("a", 1, 1, 9, "stale_ok"), decrypt("a", 2, 1, revision=8)],
        "8 after it had seen 9",
        id="behind what a stale read has shown",
    ),
    pytest.param(
        sessions.own_writes, [rotate(1, 2, process="a"), get("a", 2, 1)], "version 1 was told", id="own rotation"
    ),
    pytest.param(
        sessions.own_writes,
        [rotate(1, 2, process="a"), encrypt("a", 2, 1)],
        "version 1 was told",
        id="own, to encrypt",
    ),
    pytest.param(
        sessions.own_writes,
        [change("enable", 0.1, 0.9, 1), change("disable", 1, 1.1, 1, process="a"), decrypt("a", 2, 1)],
        "version 1 was used",
        id="own disabling, enabled before only",
    ),
    pytest.param(
        LABELS,
        [op("a", "get", 1, 2, {"level": "linearizable"}, {"primary": 1, "level": "stale_ok"})],
        "asked for linearizable, labelled stale_ok",
        id="a weaker label",
    ),
    pytest.param(
        LABELS, [get("a", 1, 1, level="bounded", staleness_ms=1200.0)], "1200 ms old", id="past the bound"
    ),
    pytest.param(LABELS, [get("a", 1, 1, level="bounded")], "does not say", id="no age"),
    pytest.param(LABELS, [decrypt("a", 1, 1, staleness_ms=2300.0)], "2300 ms old", id="past the key's own bound"),
    pytest.param(LABELS, [decrypt("a", 1, 1, level="stale_ok")], "labelled stale_ok", id="unasked, a stale use"),
    pytest.param(
        staleness.ages,
        [CREATED, rotate(1, 2), get("a", 2.2, 1, level="bounded", staleness_ms=5000.0)],
        "version 2 was acknowledged 1.100 s before",
        id="older than the bound that was asked for",
    ),
    pytest.param(
        staleness.ages,
        [CREATED, rotate(1, 2), encrypt("a", 1.6, 1, level="stale_ok", staleness_ms=400.0)],
        "version 2 was acknowledged",
        id="older than it says",
    ),
    pytest.param(
        versions.one_answer,
        [rotate(1, 2, "x"), rotate(2, 3, "x")],
        "answered with versions 2 and 3",
        id="two answers",
    ),
    pytest.param(
        versions.one_answer, [rotate(1, 2), rotate(2, 2)], "given to two requests", id="one version twice"
    ),
    pytest.param(versions.contiguous, [CREATED, rotate(1, 3)], "version 2 of k1 exists", id="a gap"),
    pytest.param(
        versions.contiguous,
        [CREATED, rotate(1, None, expected=3), rotate(2, 3)],
        "version 2",
        id="a gap, unknown later",
    ),
    pytest.param(
        versions.contiguous,
        [CREATED, rotate(1, None, expected=1), rotate(2, 4)],
        "version 3",
        id="two gaps, one unknown",
    ),
    pytest.param(
        versions.used_once_made,
        [CREATED, encrypt("a", 1, 2), rotate(2, 2)],
        "0.900 s too early",
        id="before its making",
    ),
    pytest.param(
        versions.used_once_made, [CREATED, encrypt("a", 1, 2)], "no request can have made it", id="unmade"
    ),
    pytest.param(
        versions.used_once_made,
        [CREATED, op("o", "stage", 1, 2, {"request_id": "s"}, {"version": 2}), encrypt("a", 3, 2)],
        "too early",
        id="staged, never activated",
    ),
    pytest.param(
        versions.validated, [STAGED, activate(5, 2)], "nobody had validated", id="activated, never validated"
    ),
    pytest.param(
        versions.validated,
        [STAGED, change("validate", 6, 7, 2), activate(5, 2)],
        "nobody had validated",
        id="validated only later",
    ),
    pytest.param(
        versions.validated,
        [STAGED, change("validate", 2, 3, 2, REFUSED), change("validate", 2, 3, 1), activate(5, 2)],
        "nobody had validated",
        id="validation refused, or of another version",
    ),
    pytest.param(
        REVOKED, [change("disable", 1, 2, 1), decrypt("a", 4.1, 1)], "2.100 s after", id="decrypted too late"
    ),
    pytest.param(
        REVOKED,
        [change("destroy", 1, 2, 1), change("enable", 2.5, 3, 1, REFUSED), decrypt("a", 4.1, 1)],
        "2.100 s after",
        id="destroyed, and decrypted",
    ),
    pytest.param(
        REVOKED, [change("disable", 1, 2, 1), encrypt("a", 2.1, 1)], "0.100 s after", id="linearizable: at once"
    ),
    pytest.param(
        REVOKED,
        [change("enable", 0.2, 0.9, 1), change("disable", 1, 2, 1), encrypt("a", 3.1, 1, "bounded")],
        "the bound is 1 s",
        id="past the bound of the call",
    ),
    pytest.param(
        root_keys.seeding_once,
        [rotated_under(1, 2, "q1", "q2"), rotated_under(2, 3, "q2", "q3"), rotated_under(3, 3, "q2", "q3")],
        "q2 seeded root epochs 2 and 3",
        id="a QKD key again",
    ),
    pytest.param(
        uses.plaintexts, [decrypt("a", 1, 1, fingerprint="g")], "another plaintext", id="another plaintext"
    ),
    pytest.param(DECRYPTABLE, [decrypt("a", 1, 1, "VERSION_NOT_FOUND")], "nobody had disabled", id="not found"),
    pytest.param(
        DECRYPTABLE,
        [decrypt("a", 1, 1, "VERSION_DISABLED"), change("disable", 2, 3, 1)],
        "nobody had disabled",
        id="disabled only later",
    ),
    pytest.param(
        DECRYPTABLE,
        [change("disable", 1, 2, 1), change("enable", 3, 4, 1), decrypt("a", 6.1, 1, "VERSION_DISABLED")],
        "nobody had disabled",
        id="enabled long since",
    ),
    pytest.param(
        last_looks.lasting, [CREATED, rotate(1, 2), get("end@n1", 3, 1)], "at the end it is 1", id="lost"
    ),
    pytest.param(
        last_looks.lasting,
        [CREATED, get("end@n1", 3, 2, level="stale_ok"), get("end@n2", 4, 1)],
        "n1: 2, n2: 1",
        id="nodes differ",
    ),
]

NEAR = [
    pytest.param(sessions.revisions, [get("a", 1, 1, 9), get("b", 2, 1, 8)], id="another client"),
    pytest.param(
        sessions.revisions, [get("a", 1, 1, 9), get("a", 2, 1, 8, "stale_ok")], id="any state was asked for"
    ),
    pytest.param(
        sessions.own_writes, [rotate(1, 2, process="a"), get("a", 2, 1, 0, "stale_ok")], id="asked for stale"
    ),
    pytest.param(sessions.own_writes, [rotate(1, 2, process="b"), get("a", 2, 1)], id="another's write"),
    pytest.param(
        sessions.own_writes,
        [change("disable", 1, 2, 1, process="a"), change("enable", 0.5, 1.5, 1), decrypt("a", 3, 1)],
        id="somebody enabled it meanwhile",
    ),
    pytest.param(
        sessions.own_writes,
        [change("enable", 0.1, 0.2, 1, UNKNOWN), change("disable", 1, 2, 1, process="a"), decrypt("a", 3, 1)],
        id="an enabling may come at last",
    ),
    pytest.param(LABELS, [get("a", 1, 1, level="bounded", staleness_ms=1090.0)], id="aged while it was answered"),
    pytest.param(
        LABELS, [op("a", "get", 1, 2, {"level": "bounded"}, {"primary": 1, "level": "linearizable"})], id="better"
    ),
    pytest.param(LABELS, [get("a", 1, 1, level="stale_ok")], id="stale, of unknown age"),
    pytest.param(
        staleness.ages,
        [CREATED, rotate(1, 2), get("a", 2.0, 1, level="bounded", staleness_ms=990.0)],
        id="old within the bound",
    ),
    pytest.param(staleness.ages, [CREATED, rotate(1, None, expected=1), get("a", 3, 1)], id="an unknown rotation"),
    pytest.param(versions.one_answer, [rotate(1, 2, "x"), rotate(2, 2, "x"), rotate(3, 3)], id="repeated"),
    pytest.param(
        versions.contiguous, [CREATED, rotate(1, None, expected=1), rotate(2, 3)], id="a gap by an unknown one"
    ),
    pytest.param(versions.used_once_made, [CREATED, encrypt("a", 1.95, 2), rotate(2, 2)], id="while it is made"),
    pytest.param(
        versions.used_once_made,
        [CREATED, rotate(1, None, "x", expected=1), encrypt("a", 2, 2), rotate(3, 2, "x")],
        id="by the first, unanswered attempt",
    ),
    pytest.param(
        versions.used_once_made,
        [CREATED, rotate(1, None, expected=1), encrypt("a", 2, 2)],
        id="by one never answered",
    ),
    pytest.param(versions.validated, [STAGED, change("validate", 2, 3, 2), activate(5, 2)], id="validated"),
    pytest.param(
        versions.validated, [STAGED, change("validate", 2, 3, 2, UNKNOWN), activate(5, 2)], id="perhaps validated"
    ),
    pytest.param(versions.validated, [CREATED, activate(5, 1, already_active=True)], id="active before"),
    pytest.param(REVOKED, [change("disable", 1, 2, 1), decrypt("a", 3.9, 1)], id="decrypted within the bound"),
    pytest.param(REVOKED, [change("disable", 1, 2, 1), encrypt("a", 9, 1, "stale_ok")], id="any state will do"),
    pytest.param(REVOKED, [change("disable", 1, 2, 1, UNKNOWN), decrypt("a", 9, 1)], id="disabling unknown"),
    pytest.param(
        REVOKED, [change("disable", 1, 2, 1), change("enable", 5, 6, 1), decrypt("a", 9, 1)], id="enabled again"
    ),
    pytest.param(
        DECRYPTABLE, [change("disable", 1, 2, 1, UNKNOWN), decrypt("a", 9, 1, "VERSION_DISABLED")], id="maybe"
    ),
    pytest.param(
        DECRYPTABLE,
        [change("disable", 1, 2, 1), change("enable", 3, 4, 1), decrypt("a", 5.9, 1, "VERSION_DISABLED")],
        id="a node that may not know yet",
    ),
    pytest.param(
        DECRYPTABLE,
        [change("disable", 1, 3.5, 1), change("enable", 3, 4, 1), decrypt("a", 9, 1, "VERSION_DISABLED")],
        id="disabled perhaps after it was enabled",
    ),
    pytest.param(DECRYPTABLE, [decrypt("a", 1, 1, "UNAVAILABLE")], id="refused for another reason"),
    pytest.param(
        root_keys.seeding_once,
        [rotated_under(1, 2, "q1"), rotated_under(2, 2, "q1"), rotated_under(3, 3), rotated_under(4, 4, "q2")],
        id="each QKD key in its epoch, and one without",
    ),
    pytest.param(
        last_looks.lasting,
        [CREATED, rotate(1, None, expected=1), get("end@n1", 3, 1), get("end@n2", 4, 1)],
        id="an unknown rotation did not come",
    ),
]


@pytest.mark.parametrize(("checker", "ops", "words"), PLANTED)
def test_what_was_planted_is_found(checker: Checker, ops: list[Op], words: str) -> None:
    [breach] = checker(ops)
    assert words in breach


@pytest.mark.parametrize(("checker", "ops"), NEAR)
def test_what_comes_near_passes(checker: Checker, ops: list[Op]) -> None:
    assert checker(ops) == []


def test_a_node_that_showed_nothing_at_the_end_leaves_it_undecided() -> None:
    silent = op("end@n2", "get", 4, 5, {}, {}, REFUSED, "UNAVAILABLE")
    assert last_looks.unseen([CREATED]) == "nobody looked at the end"
    assert last_looks.unseen([get("end@n1", 3, 1), silent]) == "end@n2 was not shown keys/k1"
    assert last_looks.unseen([get("end@n1", 3, 1), silent, get("end@n2", 6, 1)]) == ""


def test_a_history_of_the_ledger_holds_in_every_way() -> None:
    ops = [one for one in busy_key(3, 400, 8, 0.0) if one.answer.get("replayed") is not True]
    newest = max(int(str(one.answer.get("version", 0))) for one in ops)
    ops.append(get("end@n1", ops[-1].start + 10, newest))
    for one in judgements(ops, BOUND_S):
        if one.name != "no client goes back in time":
            assert (one.breaches, one.undecided) == ([], ""), one.name


def test_every_judgement_can_be_broken_or_left_open() -> None:
    broken = {
        one.name for one in judgements([CREATED, rotate(1, 2), get("end@n1", 3, 1)], BOUND_S) if one.breaches
    }
    assert broken == {
        "operations are linearizable",
        "no answer is older than it says",
        "what was acknowledged is there at the end",
    }
    [undecided] = [one.name for one in judgements([CREATED], BOUND_S) if one.undecided]
    assert undecided == "what was acknowledged is there at the end"
