"""The chain of mutations: a record for each effect, linked, bounded, the same everywhere."""

import pytest

from ledger_world import World, request, seeded
from qkms.audit import MUTATIONS_GENESIS, Head, check_chain, fields_of
from qkms_node.ledger import audit_rules
from qkms_node.ledger import commands as c
from qkms_node.ledger.access_records import AnchorRecord
from qkms_node.ledger.snapshot import digest, restore, snapshot


def records(world: World) -> list[dict[str, object]]:
    return [fields_of(line) for line in world.state.audit]


def test_each_effect_has_one_record_and_what_changes_nothing_has_none() -> None:
    world = seeded()
    before = world.state.audit_length
    world.create("payments", tag="r1")
    world.create("payments", tag="r1")
    world.create("payments")
    world.do(c.DisableVersion(request(), "payments", 1))
    world.do(c.DisableVersion(request(), "payments", 1))
    world.rotate(7)
    made = records(world)[before:]
    assert [(r["method"], r["resource"], r["principal"]) for r in made] == [
        ("create_key", "keys/payments", "alice"),
        ("disable_version", "keys/payments/versions/1", "alice"),
    ]
    assert made[0]["request_id"] == "r1"
    assert made[-1]["revision"] == world.state.revision
    start = Head(0, MUTATIONS_GENESIS)
    assert check_chain(start, world.state.audit) == Head(world.state.audit_length, world.state.audit_head)


def test_what_nodes_and_the_clock_do_is_recorded_as_theirs() -> None:
    world = seeded()
    assert {r["principal"] for r in records(world)} == {audit_rules.CLUSTER}
    assert records(world)[-1]["resource"] == "rootEpochs/1"
    world.create("payments")
    world.rotate(1)
    world.do(c.DestroyVersion(request(), "payments", 1, 1_000))
    world.do(c.AdvanceTime(), later_ms=1_000)
    last = records(world)[-1]
    assert (last["principal"], last["resource"]) == (audit_rules.CLOCK, "keys/payments/versions/1")


def test_no_record_holds_more_than_names(request: pytest.FixtureRequest) -> None:
    world = seeded()
    world.create("payments")
    assert all(b"wrapped" not in line and b"check-" not in line for line in world.state.audit)
    assert set(records(world)[-1]) == {
        *("n", "revision", "time_ms", "principal", "method", "resource", "request_id", "code", "h")
    }


def test_the_window_is_bounded_and_goes_on_from_its_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_rules, "AUDIT_HISTORY", 5)
    world = seeded()
    for number in range(10):
        world.create(f"k{number}")
    state = world.state
    assert len(state.audit) == 5
    base = Head(state.audit_length - 5, state.audit_base)
    assert check_chain(base, state.audit) == Head(state.audit_length, state.audit_head)
    again = restore(list(snapshot(state)))
    assert (again.audit_head, again.audit_base, again.audit) == (state.audit_head, state.audit_base, state.audit)
    assert digest(again) == digest(state)


def test_what_a_command_is_about_is_read_from_its_fields() -> None:
    assert audit_rules.resource_of(c.AdvanceTime()) == ""
    assert audit_rules.resource_of(c.CloseSession(request(), "s1")) == "sessions/s1"
    assert audit_rules.resource_of(c.RegisterNode("node-1", b"", b"")) == "nodes/node-1"
    assert audit_rules.resource_of(c.RequestRoot(request(), 3)) == "rootEpochs/3"


def anchor(length: int, head: bytes = b"h", node: str = "node-1", key: str = "k1") -> c.AnchorAudit:
    return c.AnchorAudit(request(), AnchorRecord(node, key, length, head, b"e", b"m"))


def test_anchors_only_go_forward_and_need_a_registered_key() -> None:
    world = seeded()
    assert world.do(anchor(3)).code == "AUDIT_KEY_UNKNOWN"
    assert world.do(c.RegisterAuditKey("node-1", "k1", b"e", b"m")).changed
    assert not world.do(c.RegisterAuditKey("node-1", "k1", b"e", b"m")).changed
    assert world.do(anchor(3, node="node-2")).code == "AUDIT_KEY_UNKNOWN"
    assert world.do(anchor(3)).changed
    assert records(world)[-1]["resource"] == f"auditAnchors/node-1/3/{b'h'.hex()}"
    assert world.do(anchor(3)).note == "already anchored"
    assert world.do(anchor(3, b"other")).code == "AUDIT_BROKEN"
    assert world.do(anchor(2)).metadata == {"anchored": "3", "offered": "2"}
    for length in range(4, 4 + audit_rules.ANCHORS_KEPT):
        assert world.do(anchor(length)).changed
    assert len(world.state.anchors) == audit_rules.ANCHORS_KEPT
    last = audit_rules.last_anchor(world.state, "k1")
    assert last is not None
    assert last.length == 3 + audit_rules.ANCHORS_KEPT
    assert audit_rules.last_anchor(world.state, "k2") is None
