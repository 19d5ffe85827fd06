"""The decision: default deny, deny wins, order is irrelevant, grants never widen, explain agrees."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms_node.access.identity import principal
from qkms_node.access.policy import (
    Call,
    Grant,
    Rate,
    Reason,
    Rule,
    Rules,
    decide,
    explain,
    holds,
)
from qkms_node.errors import QkmsError

PAYMENTS = "spiffe://qkms.dev/service/payments"
NOW = 50

people = st.sampled_from(["ann", "bob", "eve"])
people_patterns = st.lists(st.sampled_from(["ann", "bob", "*", "e*", "*b"]), min_size=1, max_size=2).map(tuple)
actions = st.sampled_from(["keys.get", "crypto.encrypt", "policies.update", "cluster.status"])
action_patterns = st.lists(
    st.sampled_from(["keys.get", "crypto.*", "*", "*.update", "*s.*"]), min_size=1, max_size=2
).map(tuple)
keys = st.sampled_from(["", "pay", "pay.cards", "hr"])
key_patterns = st.lists(st.sampled_from(["*", "pay*", "hr", "*.cards"]), min_size=1, max_size=2).map(tuple)
context_keys = st.sets(st.sampled_from(["tenant", "case"]), max_size=2)
grades = st.sets(st.sampled_from([1, 2, 3]), max_size=2).map(tuple)
rates = st.none() | st.builds(Rate, st.just(60), st.just(1))

_allows = st.builds(
    Rule,
    name=st.text("abc", min_size=1, max_size=3),
    principals=people_patterns,
    actions=action_patterns,
    keys=key_patterns,
    context_keys=context_keys.map(tuple),
    grades=grades,
    rate=rates,
)
_denies = st.builds(
    Rule,
    name=st.text("abc", min_size=1, max_size=3),
    principals=people_patterns,
    actions=action_patterns,
    keys=key_patterns,
    allow=st.just(False),
)
grants = st.builds(
    Grant,
    name=st.text("abc", min_size=1, max_size=3).map("grants/".__add__),
    grantor=people,
    grantee=people,
    actions=st.lists(actions, min_size=1, max_size=2).map(tuple),
    keys=st.lists(keys, min_size=1, max_size=2).map(tuple),
    expire_ms=st.sampled_from([NOW - 1, NOW, NOW + 1]),
    context_keys=context_keys.map(tuple),
)
calls = st.builds(Call, people, actions, keys, context_keys=context_keys.map(frozenset), grade=st.integers(0, 3))


def named_apart(rules: Rules) -> Rules:
    """The same rules with a name of its own for each, as `access.rules` gives them."""
    return dataclasses.replace(
        rules,
        rules=tuple(dataclasses.replace(r, name=f"{r.name}/{n}") for n, r in enumerate(rules.rules)),
        grants=tuple(dataclasses.replace(g, name=f"{g.name}/{n}") for n, g in enumerate(rules.grants)),
    )


worlds = st.builds(
    Rules,
    rules=st.lists(_allows | _denies, max_size=5).map(tuple),
    grants=st.lists(grants, max_size=3).map(tuple),
    admins=st.sampled_from([(), ("ann",), ("e*",)]),
).map(named_apart)


def with_rule(rules: Rules, rule: Rule) -> Rules:
    return dataclasses.replace(rules, rules=(*rules.rules, dataclasses.replace(rule, name=f"new/{rule.name}")))


@given(worlds, _denies, calls)
def test_adding_a_deny_never_widens(rules: Rules, deny: Rule, call: Call) -> None:
    before, after = decide(rules, call, NOW), decide(with_rule(rules, deny), call, NOW)
    assert before.allowed or not after.allowed
    assert bool(before.limits) <= bool(after.limits) or not after.allowed, "nor does it lift a rate limit"


@given(worlds, _allows, calls)
def test_adding_an_allow_never_narrows(rules: Rules, allow: Rule, call: Call) -> None:
    before, after = decide(rules, call, NOW), decide(with_rule(rules, allow), call, NOW)
    assert after.allowed or not before.allowed
    if before.allowed and before.reason is not Reason.GRANTED and not before.limits:
        assert not after.limits, "who was not limited stays so"


@given(worlds, calls, st.randoms())
def test_the_order_of_rules_is_irrelevant(rules: Rules, call: Call, random: object) -> None:
    shuffled_rules, shuffled_grants = list(rules.rules), list(rules.grants)
    random.shuffle(shuffled_rules)  # type: ignore[attr-defined]
    random.shuffle(shuffled_grants)  # type: ignore[attr-defined]
    other = Rules(tuple(shuffled_rules), tuple(shuffled_grants), rules.admins)
    assert decide(other, call, NOW) == decide(rules, call, NOW)
    assert explain(other, call, NOW) == explain(rules, call, NOW)


@given(worlds, calls)
def test_explain_agrees_with_decide(rules: Rules, call: Call) -> None:
    found = explain(rules, call, NOW)
    assert found.decision == decide(rules, call, NOW)
    matching = [each for each in found.considered if not each.mismatch]
    denied = [each for each in matching if not each.allow]
    match found.decision.reason:
        case Reason.ADMIN:
            assert call.principal in ("ann", "eve")
        case Reason.DENIED:
            assert found.decision.rule == denied[0].rule
        case Reason.ALLOWED | Reason.GRANTED:
            assert not denied
            assert found.decision.rule in {each.rule for each in matching}
        case Reason.NO_RULE:
            assert matching == []


@given(worlds, grants, calls)
def test_a_grant_never_gives_more_than_its_grantor_has_then(rules: Rules, grant: Grant, call: Call) -> None:
    added = dataclasses.replace(rules, grants=(*rules.grants, grant))
    before, after = decide(rules, call, NOW), decide(added, call, NOW)
    assert after.allowed or not before.allowed
    if after.allowed and not before.allowed:
        assert call.principal == grant.grantee
        assert grant.expire_ms > NOW
        as_grantor = dataclasses.replace(call, principal=grant.grantor)
        assert holds(rules, as_grantor)
        assert after.limits == decide(Rules(rules.rules), as_grantor).limits, "nor faster than its grantor may"


@given(worlds, calls)
def test_admins_always_manage_access_and_nothing_else_by_that(rules: Rules, call: Call) -> None:
    if call.action == "policies.update":
        assert decide(Rules(rules.rules, rules.grants, ("*",)), call, NOW).reason is Reason.ADMIN
    else:
        assert decide(Rules((), (), ("*",)), call, NOW).reason is Reason.NO_RULE


def test_nothing_is_allowed_without_a_rule() -> None:
    assert decide(Rules(), Call(PAYMENTS, "keys.get", "k")) == decide(Rules(), Call("", "", ""))
    assert not decide(Rules(), Call(PAYMENTS, "keys.get", "k")).allowed


def test_a_rule_allows_what_it_names_and_no_more() -> None:
    rules = Rules((Rule("r", ("spiffe://qkms.dev/service/*",), ("crypto.*",), ("pay.*",)),))
    assert decide(rules, Call(PAYMENTS, "crypto.encrypt", "pay.cards")).allowed
    assert not decide(rules, Call(PAYMENTS, "crypto.encrypt", "payroll")).allowed, "a dot is a dot"
    assert not decide(rules, Call(PAYMENTS, "keys.rotate", "pay.cards")).allowed
    assert not decide(rules, Call("spiffe://other/service/payments", "crypto.encrypt", "pay.cards")).allowed


def test_a_deny_on_some_keys_leaves_listing_the_others() -> None:
    allow, deny = Rule("a", ("*",), ("*",)), Rule("d", ("*",), ("keys.*",), ("hr.*",), allow=False)
    rules = Rules((allow, deny))
    assert decide(rules, Call("ann", "keys.list")).allowed
    assert not decide(rules, Call("ann", "keys.list", "hr.pay")).allowed
    assert not decide(Rules((allow, dataclasses.replace(deny, keys=("*",)))), Call("ann", "keys.list")).allowed


def test_conditions_that_are_not_known_to_hold_do_not_hold() -> None:
    rules = Rules((Rule("r", ("*",), ("*",), context_keys=("tenant",), grades=(3,)),))
    full = Call("ann", "crypto.encrypt", "k", frozenset({"tenant", "more"}), 3)
    assert decide(rules, full).allowed
    for less in (
        dataclasses.replace(full, context_keys=frozenset()),
        dataclasses.replace(full, grade=0),
        dataclasses.replace(full, grade=1),
    ):
        assert decide(rules, less).reason is Reason.NO_RULE
    said = [
        explain(rules, call).considered[0].mismatch
        for call in (Call("ann", "a.b"), dataclasses.replace(full, grade=1))
    ]
    assert said == ["needs tenant in the encryption context", "needs a grade of 3; the grade is 1"]


def test_an_expired_grant_and_one_whose_grantor_lost_the_right_say_so() -> None:
    grant = Grant("grants/1", "ann", "bob", ("keys.get",), ("k",), 10)
    call = Call("bob", "keys.get", "k")
    able = Rules((Rule("r", ("ann",), ("*",)),), (grant,))
    assert decide(able, call, 9).reason is Reason.GRANTED
    assert explain(able, call, 10).considered[0].mismatch == "has expired"
    assert explain(Rules((), (grant,)), call, 9).considered[0].mismatch == "its grantor ann may not do it itself"
    assert explain(able, Call("bob", "keys.get", "other"), 9).considered[0].mismatch == "is for keys k"
    assert explain(able, Call("bob", "keys.list", "k"), 9).considered[0].mismatch == "is about keys.get"


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            {"x509_subject_alternative_name": [b"localhost", b"spiffe://a/b"], "x509_common_name": [b"cn"]},
            "spiffe://a/b",
        ),
        ({"x509_subject_alternative_name": [b"localhost"], "x509_common_name": [b"cn"]}, "cn"),
        ({"x509_common_name": [b"cn"]}, "cn"),
    ],
)
def test_the_principal_is_the_spiffe_uri_else_the_common_name(
    context: dict[str, list[bytes]], expected: str
) -> None:
    assert principal(context) == expected


def test_a_certificate_that_names_nobody_is_refused() -> None:
    with pytest.raises(QkmsError, match="names no principal"):
        principal({})
