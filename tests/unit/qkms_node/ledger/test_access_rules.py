"""Policies, roles, tenants and grants in the ledger: whole tables, exact quotas, one effect for a request."""

import inspect
import typing
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_world import World, request, seeded
from qkms_node.ledger import access_rules
from qkms_node.ledger import commands as c
from qkms_node.ledger.access_records import RuleRecord
from qkms_node.ledger.patterns import matches
from qkms_node.ledger.records import OfferRecord
from qkms_node.ledger.snapshot import digest, restore, snapshot
from qkms_node.ledger.tallies import Tally, tenant_of

RULE = RuleRecord(("crypto.*",))


def policy(world: World, name: str = "p", tag: str = "") -> c.Outcome:
    return world.do(c.CreatePolicy(request(tag), name, "", (RULE,)))


def open_session(world: World, session_id: str, principal: str = "alice") -> c.Outcome:
    offer = OfferRecord(b"m", b"x", b"n")
    return world.do(c.OpenSession(request(principal=principal), session_id, "bob", 1, offer, 0, 60_000))


def test_ids_are_unique_and_what_is_not_there_is_said() -> None:
    world = seeded()
    assert policy(world).changed
    assert policy(world).code == "POLICY_EXISTS"
    assert world.do(c.CreateRole(request(), "r", "", ("*",), ("q",))).code == "POLICY_NOT_FOUND"
    assert world.do(c.CreateRole(request(), "r", "", ("*",), ("p",))).changed
    assert world.do(c.CreateRole(request(), "r", "", ("*",), ("p",))).code == "ROLE_EXISTS"
    assert world.do(c.CreateTenant(request(), "t", "", (), 1, 1, 1)).changed
    assert world.do(c.CreateTenant(request(), "t", "", (), 1, 1, 1)).code == "TENANT_EXISTS"
    for command, code in (
        (c.UpdatePolicy(request(), "x", 0, "", (RULE,)), "POLICY_NOT_FOUND"),
        (c.DeleteRole(request(), "x", 0), "ROLE_NOT_FOUND"),
        (c.DeleteTenant(request(), "x", 0), "TENANT_NOT_FOUND"),
        (c.RevokeGrant(request(), "x"), "GRANT_NOT_FOUND"),
    ):
        assert world.do(command).code == code


def test_a_policy_in_use_stays_until_no_role_names_it() -> None:
    world = seeded()
    policy(world)
    world.do(c.CreateRole(request(), "r", "", ("*",), ("p",)))
    assert world.do(c.DeletePolicy(request(), "p", 0)).code == "POLICY_IN_USE"
    assert world.do(c.DeleteRole(request(), "r", 0)).changed
    assert world.do(c.DeletePolicy(request(), "p", 0)).changed


def test_an_etag_that_is_not_that_of_the_record_changes_nothing() -> None:
    world = seeded()
    made = policy(world).policy
    assert made is not None
    assert world.do(c.UpdatePolicy(request(), "p", made.revision, "new", (RULE,))).changed
    before = digest(world.state)
    refused = world.do(c.UpdatePolicy(request(), "p", made.revision, "newer", (RULE,)))
    assert (refused.code, refused.metadata["expected"]) == ("ETAG_MISMATCH", str(made.revision))
    assert world.do(c.DeletePolicy(request(), "p", made.revision)).code == "ETAG_MISMATCH"
    assert digest(world.state) == before


def test_a_repeated_request_has_one_effect_and_its_first_answer() -> None:
    world = seeded()
    first = policy(world, tag="same")
    world.do(c.DeletePolicy(request(), "p", 0))
    again = policy(world, tag="same")
    assert again.replayed
    assert again.policy == first.policy
    assert world.state.policies == {}


def test_every_change_of_access_moves_its_revision_and_nothing_else_does() -> None:
    world = seeded()
    seen = [world.state.access_revision]
    for command in (
        c.CreatePolicy(request(), "p", "", (RULE,)),
        c.CreateRole(request(), "r", "", ("*",), ("p",)),
        c.UpdateRole(request(), "r", 0, "", ("a",), ("p",)),
        c.CreateTenant(request(), "t", "", (), 0, 0, 0),
        c.UpdateTenant(request(), "t", 0, "", (), 1, 0, 0),
        c.CreateGrant(request(), "g", "bob", ("keys.get",), ("k",), (), 1_000),
    ):
        assert world.do(command).changed
        seen.append(world.state.access_revision)
    assert seen == sorted(set(seen))
    world.create("k")
    assert world.state.access_revision == seen[-1]
    world.do(c.AdvanceTime(), later_ms=2_000)
    assert world.state.access_revision > seen[-1], "a grant has expired"
    assert world.state.grants == {}


def test_a_grant_made_anew_outlives_the_schedule_of_the_old_one() -> None:
    world = seeded()
    world.do(c.CreateGrant(request(), "g", "bob", ("keys.get",), ("k",), (), 1_000))
    assert world.do(c.CreateGrant(request(), "g", "bob", ("keys.get",), ("k",), (), 9_000)).code == "GRANT_EXISTS"
    assert world.do(c.RevokeGrant(request(), "g")).changed
    world.do(c.CreateGrant(request(), "g", "bob", ("keys.get",), ("k",), (), 9_000))
    world.do(c.AdvanceTime(), later_ms=2_000)
    assert list(world.state.grants) == ["g"]


def test_a_tenants_quotas_are_exact() -> None:
    world = seeded()
    world.do(c.CreateTenant(request(), "acme", "", ("alice",), 2, 3, 1))
    assert world.create("acme.a").changed
    assert world.create("acme.b").changed
    refused = world.create("acme.c")
    assert (refused.code, refused.metadata["quota"]) == ("QUOTA_EXCEEDED", "keys")
    assert world.create("acme").changed, "without the dot it is nobody's"
    assert world.create("acme2.a").changed
    assert world.rotate(1, key_id="acme.a").changed
    assert world.rotate(2, key_id="acme.a").metadata["quota"] == "versions"
    world.do(c.DestroyVersion(request(), "acme.a", 1, 1_000))
    assert world.rotate(2, key_id="acme.a").code == "QUOTA_EXCEEDED", "scheduled is not destroyed"
    world.do(c.AdvanceTime(), later_ms=1_000)
    assert world.rotate(2, key_id="acme.a").changed
    assert open_session(world, "s1").changed
    assert open_session(world, "s1").note == "already open"
    assert open_session(world, "s2").metadata["quota"] == "sessions"
    assert open_session(world, "s2", "carol").changed
    world.do(c.CloseSession(request(), "s1"))
    assert open_session(world, "s3").changed
    world.do(c.UpdateTenant(request(), "acme", 0, "", (), 0, 0, 0))
    assert world.create("acme.c").changed


def test_a_key_that_begins_without_a_version_counts_as_a_key() -> None:
    world = seeded()
    world.do(c.CreateTenant(request(), "acme", "", (), 1, 1, 0))
    empty = c.CreateKey(request(), "acme.a", "AES_256_GCM", 0, 30_000, {}, None)
    assert world.do(empty).changed
    again = world.do(c.CreateKey(request(), "acme.b", "AES_256_GCM", 0, 30_000, {}, None))
    assert (again.code, again.metadata["quota"]) == ("QUOTA_EXCEEDED", "keys")
    assert world.stage_version("acme.a").changed
    world.do(c.AbortVersion(request(), "acme.a", 1, ""))
    assert world.stage_version("acme.a").changed, "what was aborted is destroyed and takes no room"
    world.do(c.AbortVersion(request(), "acme.a", 2, ""))
    assert world.do(c.DeleteKey(request(), "acme.a")).changed
    assert world.do(c.CreateKey(request(), "acme.c", "AES_256_GCM", 0, 30_000, {}, None)).changed


def test_a_deleted_tenant_takes_its_quotas_with_it_and_leaves_its_keys() -> None:
    world = seeded()
    made = world.do(c.CreateTenant(request(), "acme", "", (), 1, 0, 0)).tenant
    assert made is not None
    world.create("acme.a")
    assert world.do(c.DeleteTenant(request(), "acme", made.revision + 9)).code == "ETAG_MISMATCH"
    assert world.do(c.DeleteTenant(request(), "acme", made.revision)).changed
    assert world.create("acme.b").changed


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_rules, "MAX_RECORDS", 1)
    monkeypatch.setattr(access_rules, "MAX_GRANTS_OF_ONE", 1)
    world = seeded()
    assert policy(world, "p").changed
    assert policy(world, "q").code == "QUOTA_EXCEEDED"
    for number, code in ((1, ""), (2, "QUOTA_EXCEEDED")):
        grant = c.CreateGrant(request(), f"g{number}", "bob", ("keys.get",), ("k",), (), 1_000)
        assert world.do(grant).code == code


def test_counts_are_those_of_the_tables_after_a_snapshot_too() -> None:
    world = seeded()
    for name in ("acme.a", "acme.b", "other.a", "plain"):
        world.create(name)
    world.rotate(1, key_id="acme.a")
    world.do(c.DestroyVersion(request(), "acme.a", 1, 0))
    open_session(world, "s1")
    world.do(c.AdvanceTime())
    again = restore(list(snapshot(world.state)))
    assert digest(again) == digest(world.state)
    for state in (world.state, again):
        assert state.keys.counts["tenant"] == Counter({"acme": 2, "other": 1, "": 1})
        assert state.versions.counts["tenant"] == Counter({"acme": 2, "other": 1, "": 1})
        assert state.sessions.counts["initiator"] == Counter({"alice": 1})
        assert state.keys.counts["algorithm"] == Counter(key.algorithm for key in state.keys.values())
        assert state.versions.counts["state"] == Counter(version.state for version in state.versions.values())


@given(st.lists(st.tuples(st.sampled_from("spd"), st.sampled_from("ab"), st.sampled_from(["x", "y", None]))))
def test_a_tally_counts_what_is_there(steps: list[tuple[str, str, str | None]]) -> None:
    table: Tally[str, str | None] = Tally(value=lambda _, value: value)
    for step, key, value in steps:
        if step == "s":
            table[key] = value
        elif step == "p":
            table.pop(key, None)
        elif key in table:
            del table[key]
    assert table.counts["value"] == Counter(value for value in table.values() if value is not None)


def test_every_command_that_brings_material_is_counted_against_quotas() -> None:
    """check_quota looks at `key_id` and `new`: a command with material under another name escapes it."""

    def brings_material(command: type) -> bool:
        return any("NewVersion" in inspect.formatannotation(h) for h in typing.get_type_hints(command).values())

    makers = [command for command in typing.get_args(c.AnyCommand) if brings_material(command)]
    assert {c.CreateKey, c.RotateKey} <= set(makers)
    for command in makers:
        hints = typing.get_type_hints(command)
        assert hints.get("new") in (c.NewVersion, c.NewVersion | None), (
            f"{command.__name__}: name its material `new`"
        )
        assert hints.get("key_id") is str, f"{command.__name__}: name its key `key_id`"


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("*", "", True),
        ("a*b", "ab", True),
        ("a*a", "a", False),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "acb", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "ab", False),
        ("a.c", "abc", False),
        ("a", "ab", False),
    ],
)
def test_patterns(pattern: str, value: str, expected: bool) -> None:
    assert matches(pattern, value) is expected


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_patterns_agree_with_a_plain_definition(pattern: str, value: str) -> None:
    def plain(p: str, v: str) -> bool:
        if not p:
            return not v
        if p[0] == "*":
            return any(plain(p[1:], v[n:]) for n in range(len(v) + 1))
        return bool(v) and p[0] == v[0] and plain(p[1:], v[1:])

    assert matches(pattern, value) == plain(pattern, value)


def test_the_tenant_of_a_key_is_what_stands_before_its_first_dot() -> None:
    assert [tenant_of(key_id) for key_id in ("acme.pay.eu", "acme", "a-b.c")] == ["acme", "", "a-b"]
