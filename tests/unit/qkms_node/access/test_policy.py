"""Default deny, deny wins, and no decision widens by adding a deny."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms_node.access.guard import Guard
from qkms_node.access.identity import principal
from qkms_node.access.policy import decide
from qkms_node.config import Rule
from qkms_node.errors import QkmsError

PAYMENTS = "spiffe://qkms.dev/service/payments"


@dataclass(frozen=True)
class _Call:
    principal: str
    action: str
    key_id: str


words = st.text(alphabet="ab/.*", max_size=4)
patterns = st.lists(words, min_size=1, max_size=3).map(tuple)
allows = st.builds(Rule, principals=patterns, actions=patterns, keys=patterns)
denies = st.builds(Rule, principals=patterns, actions=patterns, keys=patterns, effect=st.just("deny"))
calls = st.builds(_Call, words, words, words)


def test_nothing_is_allowed_without_a_rule() -> None:
    assert not decide((), PAYMENTS, "keys.get", "k").allowed


def test_a_rule_allows_what_it_names_and_no_more() -> None:
    rules = (Rule(principals=("spiffe://qkms.dev/service/*",), actions=("crypto.*",), keys=("pay.*",)),)
    assert decide(rules, PAYMENTS, "crypto.encrypt", "pay.cards").allowed
    assert not decide(rules, PAYMENTS, "crypto.encrypt", "payroll").allowed, "a dot is a dot, not any character"
    assert not decide(rules, PAYMENTS, "keys.rotate", "pay.cards").allowed
    assert not decide(rules, "spiffe://other/service/payments", "crypto.encrypt", "pay.cards").allowed


def test_a_deny_wins_wherever_it_stands() -> None:
    allow = Rule(principals=("*",), actions=("*",))
    deny = Rule(principals=(PAYMENTS,), actions=("keys.destroy",), effect="deny")
    for rules in ((allow, deny), (deny, allow)):
        assert not decide(rules, PAYMENTS, "keys.destroy", "k").allowed
        assert decide(rules, PAYMENTS, "keys.get", "k").allowed


@given(st.lists(allows | denies, max_size=5), denies, st.integers(0, 5), calls)
def test_adding_a_deny_never_widens(rules: list[Rule], deny: Rule, at: int, call: _Call) -> None:
    before = decide(rules, call.principal, call.action, call.key_id).allowed
    rules.insert(at, deny)
    assert before or not decide(rules, call.principal, call.action, call.key_id).allowed


@given(st.lists(allows, max_size=4), calls)
def test_the_rule_named_in_the_decision_is_one_that_matches_alone(rules: list[Rule], call: _Call) -> None:
    decision = decide(rules, call.principal, call.action, call.key_id)
    if decision.rule is not None:
        assert decide([rules[decision.rule]], call.principal, call.action, call.key_id).allowed


def test_the_guard_refuses_with_who_and_what() -> None:
    guard = Guard((Rule(principals=("*",), actions=("keys.get",)),))
    guard.require(PAYMENTS, "keys.get", "k")
    assert guard.allows(PAYMENTS, "keys.get", "k")
    with pytest.raises(QkmsError) as caught:
        guard.require(PAYMENTS, "keys.destroy", "k")
    assert caught.value.code == "PERMISSION_DENIED"
    assert caught.value.metadata == {"principal": PAYMENTS, "action": "keys.destroy"}


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
