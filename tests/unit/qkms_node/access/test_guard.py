"""The guard: rules of configuration and ledger together, rate limits, the trail of decisions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ledger_world import World, request, seeded
from qkms_node.access.guard import Guard
from qkms_node.access.policy import Call, Reason
from qkms_node.access.trail import Noted, Trail, trail
from qkms_node.config_sections import Rule
from qkms_node.errors import QkmsError
from qkms_node.ledger import commands as c
from qkms_node.ledger.access_records import RuleRecord
from qkms_node.ledger.state import State


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guard_of(world: World, *rules: Rule, admins: tuple[str, ...] = (), clock: Clock | None = None) -> Guard:
    @contextmanager
    def view() -> Iterator[State]:
        yield world.state

    return Guard(rules, admins, view, clock or Clock())


def give(world: World, *rules: RuleRecord, to: str = "alice", name: str = "p") -> None:
    assert world.do(c.CreatePolicy(request(), name, "", rules)).changed
    assert world.do(c.CreateRole(request(), name, "", (to,), (name,))).changed


def code_of(guard: Guard, *call: object, **more: object) -> str:
    try:
        guard.require(*call, **more)  # type: ignore[arg-type]
    except QkmsError as error:
        return error.code
    return ""


def test_the_guard_refuses_with_who_and_what() -> None:
    guard = Guard((Rule(principals=("*",), actions=("keys.get",)),))
    guard.require("alice", "keys.get", "k")
    assert guard.allows("alice", "keys.get", "k")
    with pytest.raises(QkmsError) as caught:
        guard.require("alice", "keys.destroy", "k")
    assert caught.value.code == "PERMISSION_DENIED"
    assert caught.value.metadata == {"principal": "alice", "action": "keys.destroy"}


def test_rules_of_the_ledger_count_as_soon_as_they_are_applied() -> None:
    world = seeded()
    guard = guard_of(world, Rule(principals=("*",), actions=("keys.get",)))
    assert code_of(guard, "alice", "crypto.encrypt", "payments") == "PERMISSION_DENIED"
    give(world, RuleRecord(("crypto.*",), ("pay*",)))
    assert code_of(guard, "alice", "crypto.encrypt", "payments") == ""
    assert code_of(guard, "bob", "crypto.encrypt", "payments") == "PERMISSION_DENIED"
    give(world, RuleRecord(("keys.get",), effect="deny"), name="q")
    assert code_of(guard, "alice", "keys.get", "payments") == "PERMISSION_DENIED", "over the configuration's allow"
    world.do(c.DeleteRole(request(), "q", 0))
    assert code_of(guard, "alice", "keys.get", "payments") == ""


def test_an_admin_is_not_locked_out() -> None:
    world = seeded()
    guard = guard_of(world, admins=("root*",))
    give(world, RuleRecord(("*",), effect="deny"), to="*")
    assert code_of(guard, "root-1", "policies.delete") == ""
    assert code_of(guard, "root-1", "keys.get", "k") == "PERMISSION_DENIED"
    assert guard.explain(Call("root-1", "roles.update")).decision.reason is Reason.ADMIN


def test_the_grade_is_that_of_the_primary_version_or_of_the_one_in_question() -> None:
    world = seeded()
    world.create("payments")
    guard = guard_of(world)
    give(world, RuleRecord(("crypto.*",), grades=(3,)))
    assert code_of(guard, "alice", "crypto.decrypt", "payments") == ""
    assert code_of(guard, "alice", "crypto.decrypt", "payments", grade=1) == "PERMISSION_DENIED"
    assert code_of(guard, "alice", "crypto.decrypt", "unknown") == "PERMISSION_DENIED"
    assert guard.explain(Call("alice", "crypto.decrypt", "payments")).decision.allowed
    assert not guard.explain(Call("alice", "crypto.decrypt", "payments", grade=1)).decision.allowed


def test_a_rate_limit_refills_and_is_apart_for_each_principal() -> None:
    world, clock = seeded(), Clock()
    guard = guard_of(world, clock=clock)
    give(world, RuleRecord(("keys.get",), per_minute=60, burst=2), to="*")
    assert [code_of(guard, "alice", "keys.get", "k") for _ in range(3)] == ["", "", "RATE_LIMITED"]
    guard.still("alice", "keys.get", "k")
    assert code_of(guard, "bob", "keys.get", "k") == ""
    clock.now += 0.5
    with pytest.raises(QkmsError) as caught:
        guard.require("alice", "keys.get", "k")
    assert caught.value.retry_after_s == pytest.approx(0.5)
    clock.now += 0.5
    assert code_of(guard, "alice", "keys.get", "k") == ""
    clock.now += 3600
    assert [code_of(guard, "alice", "keys.get", "k") for _ in range(3)] == ["", "", "RATE_LIMITED"]
    give(world, RuleRecord(("keys.get",)), name="unlimited")
    assert code_of(guard, "alice", "keys.get", "k") == "", "adding an allow never narrows"


def test_a_grant_is_as_good_as_its_grantor_and_ends_by_the_ledgers_time() -> None:
    world = seeded()
    guard = guard_of(world)
    give(world, RuleRecord(("crypto.*",)), to="alice")
    world.do(c.CreateGrant(request(), "g", "bob", ("crypto.encrypt",), ("k",), ("case",), 10_000))
    assert guard.holds("alice", "crypto.encrypt", "k", ())
    assert not guard.holds("bob", "crypto.encrypt", "k", ("case",))
    assert code_of(guard, "bob", "crypto.encrypt", "k") == "PERMISSION_DENIED"
    assert code_of(guard, "bob", "crypto.encrypt", "k", {"case": "7"}) == ""
    assert code_of(guard, "bob", "crypto.decrypt", "k", {"case": "7"}) == "PERMISSION_DENIED"
    world.do(c.UpdateRole(request(), "p", 0, "", ("carol",), ("p",)))
    assert code_of(guard, "bob", "crypto.encrypt", "k", {"case": "7"}) == "PERMISSION_DENIED"
    world.do(c.UpdateRole(request(), "p", 0, "", ("alice",), ("p",)))
    assert code_of(guard, "bob", "crypto.encrypt", "k", {"case": "7"}) == ""
    world.do(c.AdvanceTime(), later_ms=10_000)
    assert world.state.grants == {}
    assert code_of(guard, "bob", "crypto.encrypt", "k", {"case": "7"}) == "PERMISSION_DENIED"


def test_decisions_leave_a_trail_with_context_keys_and_without_values() -> None:
    guard = Guard((Rule(principals=("*",), actions=("crypto.*",)),))
    noted = Trail()
    token = trail.set(noted)
    try:
        guard.require("alice", "crypto.encrypt", "k", {"tenant": "secret-value"})
        guard.still("alice", "crypto.encrypt", "k", {"tenant": "secret-value"})
        code_of(guard, "alice", "keys.get", "k")
    finally:
        trail.reset(token)
    assert noted.decisions == [
        Noted("crypto.encrypt", "k", True, "configuration/rules/0"),
        Noted("keys.get", "k", False, ""),
    ]
    assert noted.context_keys == {"tenant"}
