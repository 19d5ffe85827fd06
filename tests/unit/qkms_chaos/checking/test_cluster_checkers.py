"""What is planted in what watches told, in the audit or in who takes part is found, and what comes near is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from qkms.audit import MUTATIONS_GENESIS, Head, append
from qkms_chaos.checking import audit, membership, watches
from qkms_chaos.checking.history import Op, Outcome, Value
from qkms_chaos.checking.judgements import judgements

OK, REFUSED, UNKNOWN = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN
ME = "spiffe://qkms.dev/service/payments"
Checker = Callable[[Sequence[Op]], list[str]]


@dataclass
class Chain:
    """An audit that grows by records; `at` shows it as a node has it."""

    lines: list[bytes] = field(default_factory=list)
    head: Head = field(default_factory=lambda: Head(0, MUTATIONS_GENESIS))

    def add(
        self, revision: int, method: str, key: str = "k1", request_id: str = "", principal: str = ME
    ) -> "Chain":
        fields = {"revision": revision, "time_ms": 1, "principal": principal, "method": method}
        fields |= {"resource": key if "/" in key else f"keys/{key}", "request_id": request_id, "code": "OK"}
        line, head = append(self.head, fields)
        return Chain([*self.lines, line], head)

    def at(self, node: str) -> list[Op]:
        return [_audited(node, line) for line in self.lines]


def _audited(node: str, line: bytes) -> Op:
    return Op(f"audit@{node}", "audited", "", 90, 90, OK, {}, {"line": line.decode()}, "", node)


def call(
    name: str, start: float, request_id: str = "", outcome: Outcome = OK, key: str = "k1", **answer: Value
) -> Op:
    return Op(
        "c1", name, key, start, start + 0.1, outcome, {"request_id": request_id or f"{name} {start}"}, answer
    )


def watch(start: float, after: int, *, resumed: bool = False, process: str = "w1") -> Op:
    return Op(process, "watch", "", start, start, OK, {"resumed": resumed}, {"after": after})


def event(
    start: float, revision: int, key: str = "k1", type_: str = "KEY_ROTATED", state: int = 2, w: str = "w1"
) -> Op:
    answer: dict[str, Value] = {"revision": revision, "type": type_, "version": revision, "state": state}
    return Op(w, "event", key, start, start, OK, {}, answer)


def member(name: str, who: str, start: float, outcome: Outcome = OK) -> Op:
    return Op("nemesis", name, who, start, start + 1, outcome)


def members(node: str, **parts: Value) -> Op:
    answer = {name.replace("_", "-"): part for name, part in parts.items()}
    return Op(f"end@{node}", "members", "", 99, 99, OK, {}, answer, "", node)


VOTES, LEARNS = "VOTER acts VOTER", "LEARNER acts LEARNER"
CHAIN = (
    Chain().add(1, "create_key", request_id="a").add(2, "rotate_key", request_id="b").add(3, "rotate_key", "k2")
)
GAVE_UP = Op("w1", "watched", "", 9, 9, REFUSED, {}, {}, "NOT_TOLD")

PLANTED = [
    pytest.param(
        watches.ordered, [watch(0, 1), event(1, 3), event(2, 2)], "revision 2 after 3", id="out of order"
    ),
    pytest.param(watches.ordered, [watch(0, 1), event(1, 2), event(2, 2)], "one event twice", id="twice"),
    pytest.param(watches.ordered, [watch(0, 2), event(1, 2)], "told of an earlier one", id="before its beginning"),
    pytest.param(
        watches.ordered,
        [watch(0, 1), event(1, 2), watch(2, 2, resumed=True), event(3, 2)],
        "told of an earlier one",
        id="before its token",
    ),
    pytest.param(
        watches.complete,
        [*CHAIN.at("n1"), watch(0, 1), event(1, 3, "k2")],
        "not told of k1 at revision 2",
        id="lost",
    ),
    pytest.param(
        watches.complete,
        [*CHAIN.at("n1"), watch(0, 0), event(1, 1), watch(2, 2, resumed=True), event(3, 3, "k2")],
        "not told of k1 at revision 2",
        id="lost between two watches",
    ),
    pytest.param(
        watches.complete,
        [watch(0, 1), event(1, 3), watch(0, 1, process="w2"), event(1, 2, w="w2"), event(2, 3, w="w2")],
        "w1 was not told of k1 at revision 2",
        id="another was told",
    ),
    pytest.param(
        watches.complete,
        [*Chain().add(1, "add_member", "nodes/n4").add(2, "rotate_key").at("n1"), watch(0, 0), event(1, 2)],
        "not told of members/n4 at revision 1",
        id="a member",
    ),
    pytest.param(
        watches.complete, [watch(0, 1), GAVE_UP], "never told of what came last", id="never came to the end"
    ),
    pytest.param(
        watches.founded,
        [*Chain().add(1, "create_key").add(3, "rotate_key").at("n1"), watch(0, 1), event(1, 2)],
        "no effect explains",
        id="an event of nothing",
    ),
    pytest.param(
        audit.chains,
        [*CHAIN.at("n1")[:1], *CHAIN.at("n1")[2:]],
        "record 2: is missing or out of order",
        id="a gap",
    ),
    pytest.param(
        audit.chains,
        [*CHAIN.at("n1")[:2], _audited("n1", CHAIN.lines[2].replace(b"rotate_key", b"rotate_kez"))],
        "record 3: does not match its hash",
        id="altered",
    ),
    pytest.param(
        audit.chains,
        [*CHAIN.at("n1"), *Chain().add(1, "create_key", request_id="z").at("n2")],
        "record 1 of the audit differs at n2 and n1",
        id="another at another node",
    ),
    pytest.param(
        audit.chains,
        Chain().add(2, "create_key").add(1, "rotate_key").at("n1"),
        "record 2 is of revision 1, after 2",
        id="a revision that falls",
    ),
    pytest.param(
        audit.effects,
        [call("rotate", 1, "x"), *CHAIN.at("n1")[:1], call("create", 0, "a")],
        "0 entries",
        id="none",
    ),
    pytest.param(
        audit.effects,
        [
            call("rotate", 1, "b"),
            *Chain().add(1, "rotate_key", request_id="b").add(2, "rotate_key", request_id="b").at("n1"),
        ],
        "2 entries",
        id="two effects",
    ),
    pytest.param(
        audit.effects,
        [call("rotate", 1, "b", REFUSED), *Chain().add(1, "rotate_key", request_id="b").at("n1")],
        "1 entries",
        id="refused, with an effect",
    ),
    pytest.param(
        audit.effects,
        [call("create", 1, "a"), *CHAIN.at("n1")[:2]],
        "nobody asked for: record 2",
        id="nobody's",
    ),
    pytest.param(
        audit.effects,
        [call("activate", 1, "b", already_active=False), *Chain().add(1, "create_key", "k9").at("n1")],
        "0 entries",
        id="an activation without one",
    ),
    pytest.param(
        membership.acknowledged,
        [member("add", "n4", 1), members("n1", n1=VOTES)],
        "n1 does not know n4",
        id="a member lost",
    ),
    pytest.param(
        membership.acknowledged,
        [member("add", "n4", 1), member("promote", "n4", 2), members("n1", n4=LEARNS)],
        "n4 is LEARNER",
        id="a promotion lost",
    ),
    pytest.param(
        membership.acknowledged,
        [member("remove", "n2", 1), members("n1", n2=VOTES)],
        "n2 is VOTER",
        id="still there",
    ),
    pytest.param(
        membership.agreed,
        [members("n1", n1=VOTES, n2=VOTES), members("n2", n2=VOTES)],
        "the nodes differ",
        id="differ",
    ),
    pytest.param(
        membership.agreed,
        [members("n1", n1="VOTER acts LEARNER")],
        "n1 is VOTER acts LEARNER",
        id="acts another part",
    ),
    pytest.param(
        membership.steps,
        [watch(0, 1), member("add", "n4", 1), event(3, 4, "members/n4", "MEMBER_CHANGED", 2)],
        "not that it learned before",
        id="votes at once",
    ),
    pytest.param(
        membership.gone,
        [member("remove", "n2", 1), Op("c1", "get", "k1", 3, 4, OK, {}, {"level": "linearizable"}, "", "n2")],
        "n2 was taken out and answered",
        id="answers on",
    ),
]

NEAR = [
    pytest.param(
        watches.ordered,
        [watch(0, 1), event(1, 2), event(1, 2, "k2"), watch(2, 1, resumed=True), event(3, 2)],
        id="two at one revision, and one again after a resumption",
    ),
    pytest.param(watches.complete, [*CHAIN.at("n1"), watch(0, 1), event(1, 2)], id="what came after its end"),
    pytest.param(
        watches.complete,
        [*CHAIN.at("n1"), watch(0, 0), event(1, 1), watch(2, 2), event(3, 3, "k2")],
        id="begun anew, not resumed",
    ),
    pytest.param(
        watches.complete,
        [*Chain().add(1, "create_session", "sessions/s").add(2, "rotate_key").at("n1"), watch(0, 0), event(1, 2)],
        id="nothing that is watched",
    ),
    pytest.param(
        watches.founded,
        [*CHAIN.at("n1"), watch(0, 1), event(1, 9), event(1, 2, "links/x", "LINK_ALARM_RAISED")],
        id="later than the audit",
    ),
    pytest.param(audit.chains, [*CHAIN.at("n1"), *CHAIN.at("n2")[1:]], id="one has let go of the oldest"),
    pytest.param(
        audit.effects,
        [
            call("create", 0, "a"),
            call("rotate", 1, "b", UNKNOWN),
            call("rotate", 2, "c", UNKNOWN),
            *CHAIN.at("n1"),
        ],
        id="unknown, with an effect and without",
    ),
    pytest.param(
        audit.effects,
        [call("disable", 1, "x"), call("enable", 1, "y", REFUSED), *Chain().add(1, "create_key", "k9").at("n1")],
        id="in vain",
    ),
    pytest.param(
        audit.effects,
        [
            call("create", 1, "a"),
            *Chain().add(1, "create_key", request_id="a").add(2, "confirm_version", principal="cluster").at("n1"),
        ],
        id="what nodes do of themselves",
    ),
    pytest.param(
        membership.acknowledged,
        [member("add", "n4", 1), member("remove", "n2", 3, UNKNOWN), members("n1", n2=VOTES, n4=LEARNS)],
        id="an unknown removal did not come",
    ),
    pytest.param(
        membership.acknowledged,
        [member("add", "n4", 1), member("remove", "n4", 3), members("n1", n1=VOTES)],
        id="let in and taken out",
    ),
    pytest.param(
        membership.steps,
        [
            watch(0, 1),
            member("add", "n4", 1),
            event(2, 3, "members/n4", "MEMBER_CHANGED", 1),
            event(3, 4, "members/n4", "MEMBER_CHANGED", 2),
            event(3, 4, "members/n4", "MEMBER_CHANGED", 2),
        ],
        id="learns, then votes, told twice",
    ),
    pytest.param(
        membership.gone,
        [member("remove", "n2", 1), Op("c1", "get", "k1", 1.5, 4, OK, {}, {"level": "linearizable"}, "", "n2")],
        id="asked before it was out",
    ),
]


@pytest.mark.parametrize(("checker", "ops", "words"), PLANTED)
def test_what_was_planted_is_found(checker: Checker, ops: list[Op], words: str) -> None:
    [breach] = checker(ops)
    assert words in breach


@pytest.mark.parametrize(("checker", "ops"), NEAR)
def test_what_comes_near_passes(checker: Checker, ops: list[Op]) -> None:
    assert checker(ops) == []


def test_each_of_these_is_a_judgement_on_a_history() -> None:
    ops = [
        *[watch(0, 1), event(1, 2), event(2, 2), event(3, 7), watch(0, 1, process="w2")],
        *[call("rotate", 1, "never noted"), *CHAIN.at("n1")[:1], *CHAIN.at("n1")[2:]],
        *[member("remove", "n2", 1), members("n1", n2="VOTER acts LEARNER")],
        Op("c1", "get", "k1", 3, 4, OK, {}, {"level": "linearizable", "primary": 1}, "", "n2"),
        *[member("add", "n4", 1), event(3, 8, "members/n4", "MEMBER_CHANGED", 2)],
    ]
    broken = {one.name for one in judgements(ops, 2.0) if one.breaches}
    assert broken >= {
        "watches tell in order, and each event once",
        "watches tell everything, resumed or not",
        "watches tell nothing that was not",
        "the audit is one unbroken chain",
        "the audit has one entry per effect",
        "the members are those that were let in",
        "the nodes agree on who takes part",
        "a member learns before it votes",
        "who was taken out answers nobody",
    }


def test_watches_without_an_audit_leave_it_undecided() -> None:
    left_open = [one.name for one in judgements([watch(0, 1), event(1, 2)], 2.0) if one.undecided]
    assert "watches tell everything, resumed or not" in left_open
    assert watches.unknown([call("get", 1)]) == ""
