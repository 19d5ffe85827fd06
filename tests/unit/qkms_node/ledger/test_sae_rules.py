"""What commands do to SAE keys: once for each party, all or none, erased with the last, gone when time is up."""

import uuid

import pytest

from ledger_world import HOUR_MS, World, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.sae_rules import TOMBSTONE_MS, waiting_keys
from qkms_node.ledger.snapshot import digest, restore, snapshot

A, B, C, D = "enc-a", "enc-b", "enc-c", "enc-d"


def key_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def draw(
    world: World,
    *numbers: int,
    slaves: tuple[str, ...] = (B,),
    most: int = 100,
    ttl_ms: int = HOUR_MS,
    epoch: int = 0,
    tag: str = "",
) -> c.Outcome:
    keys = tuple(c.NewSaeKey(key_id(number), b"sealed-%d" % number) for number in numbers)
    epoch = epoch or world.state.active_epoch
    return world.do(c.DrawSaeKeys(request(tag), A, slaves, 256, epoch, keys, most, ttl_ms))


def collect(world: World, *numbers: int, slave: str = B, master: str = A, tag: str = "") -> c.Outcome:
    ids = tuple(key_id(number) for number in numbers)
    return world.do(c.CollectSaeKeys(request(tag), master, slave, ids))


def test_a_key_is_held_until_its_one_slave_has_it_and_then_erased() -> None:
    world = seeded()
    assert draw(world, 1).changed
    held = world.state.sae_keys[key_id(1)]
    assert (held.grade, held.epoch, held.collected, held.sealed) == (Grade.QKD_PQC, 1, {}, b"sealed-1")
    assert collect(world, 1).changed
    tombstone = world.state.sae_keys[key_id(1)]
    assert (tuple(tombstone.collected), tombstone.sealed) == ((B,), b"")
    assert collect(world, 1).code == "SAE_KEY_NOT_FOUND"


def test_each_of_several_slaves_gets_it_once_and_the_last_one_ends_it() -> None:
    world = seeded()
    draw(world, 1, slaves=(B, C, D))
    for slave in (C, D):
        assert collect(world, 1, slave=slave).changed
        assert world.state.sae_keys[key_id(1)].sealed
        assert collect(world, 1, slave=slave).code == "SAE_KEY_NOT_FOUND"
    assert collect(world, 1, slave=B).changed
    assert world.state.sae_keys[key_id(1)].sealed == b""


@pytest.mark.parametrize("slaves", [(B,), (B, C)])
def test_the_same_proposal_again_had_its_effect_and_another_has_none(slaves: tuple[str, ...]) -> None:
    world = seeded()
    draw(world, 1, 2, slaves=slaves, tag="drawn")
    again = draw(world, 1, 2, slaves=slaves, tag="drawn")
    assert (again.note, again.changed, again.code) == ("already drawn", False, "")
    assert collect(world, 1, 2, tag="once").changed
    before = digest(world.state)
    again = collect(world, 1, 2, tag="once")
    assert (again.note, again.changed, again.code) == ("already collected", False, "")
    assert collect(world, 1, 2, tag="twice").code == "SAE_KEY_NOT_FOUND"
    assert draw(world, 1, 2, slaves=slaves, tag="drawn").note == "already drawn"
    assert digest(world.state) == before
    assert not world.state.requests.keys() & {"drawn", "once", "twice"}, "a day's memory is not for these"


@pytest.mark.parametrize(
    ("numbers", "slave", "master", "code"),
    [
        ((1, 9), B, A, "SAE_KEY_NOT_FOUND"),
        ((1, 3), B, A, "SAE_KEY_NOT_FOUND"),  # 3 was collected
        ((1, 2), B, A, "SAE_KEY_NOT_NAMED"),  # 2 is for another slave
        ((1,), C, A, "SAE_KEY_NOT_NAMED"),
        ((1,), B, D, "SAE_KEY_NOT_NAMED"),
        ((3,), C, A, "SAE_KEY_NOT_FOUND"),
    ],
)
def test_of_several_keys_all_are_given_or_none(
    numbers: tuple[int, ...], slave: str, master: str, code: str
) -> None:
    world = seeded()
    draw(world, 1, 3)
    draw(world, 2, slaves=(C,))
    collect(world, 3)
    before = digest(world.state)
    assert collect(world, *numbers, slave=slave, master=master).code == code
    assert digest(world.state) == before
    assert collect(world, 1).changed


def test_a_key_that_is_not_collected_in_time_is_erased_and_its_tombstone_forgotten_later() -> None:
    world = seeded()
    draw(world, 1, slaves=(B, C))
    collect(world, 1, slave=B)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS + 1)
    assert world.state.sae_keys[key_id(1)].sealed == b""
    assert collect(world, 1, slave=C).code == "SAE_KEY_NOT_FOUND"
    world.do(c.AdvanceTime(), later_ms=TOMBSTONE_MS)
    assert not world.state.sae_keys
    assert collect(world, 1, slave=C).code == "SAE_KEY_NOT_FOUND"


def test_the_tombstone_of_a_collected_key_goes_long_before_the_key_would_have_expired() -> None:
    world = seeded()
    draw(world, 1, ttl_ms=24 * HOUR_MS)
    collect(world, 1)
    world.do(c.AdvanceTime(), later_ms=TOMBSTONE_MS - 1)
    assert key_id(1) in world.state.sae_keys
    world.do(c.AdvanceTime())
    assert not world.state.sae_keys
    assert collect(world, 1).code == "SAE_KEY_NOT_FOUND"
    revision = world.state.revision
    world.do(c.AdvanceTime(), later_ms=24 * HOUR_MS)
    assert world.state.revision == revision, "its expiry finds nothing"


def test_so_many_keys_of_a_pair_may_wait_and_no_more() -> None:
    world = seeded()
    assert draw(world, 1, 2, most=3).changed
    before = digest(world.state)
    assert draw(world, 3, 4, most=3).code == "SAE_KEYS_WAITING"
    assert digest(world.state) == before
    assert draw(world, 5, slaves=(C,), most=3).changed, "another pair has room of its own"
    collect(world, 1)
    assert draw(world, 3, 4, most=3).changed
    assert waiting_keys(world.state, A, B) == 3


def test_a_draw_is_under_the_active_epoch_and_never_reuses_a_key_id() -> None:
    world = seeded()
    draw(world, 1)
    collect(world, 1)
    assert draw(world, 1, 2).code == "SAE_KEY_EXISTS"
    assert draw(world, 1, slaves=(C,)).code == "SAE_KEY_EXISTS"
    world.root(2)
    assert draw(world, 2, epoch=1).code == "EPOCH_CONFLICT"
    assert draw(World(), 1, epoch=1).code == "ROOT_NOT_READY"


def test_a_waiting_key_keeps_its_epoch() -> None:
    world = seeded()
    draw(world, 1)
    world.root(2)
    refused = world.do(c.DestroyRoot(1))
    assert (refused.code, "1 SAE keys" in refused.message) == ("EPOCH_IN_USE", True)
    collect(world, 1)
    assert world.do(c.DestroyRoot(1)).changed


def test_who_drew_and_who_collected_is_in_the_audit() -> None:
    world = seeded()
    draw(world, 1, 2)
    collect(world, 1)
    world.do(c.AdvanceTime(), later_ms=HOUR_MS + 1)
    lines = [line.decode() for line in world.state.audit][-3:]
    for line, method, resource in zip(
        lines,
        ("draw_sae_keys", "collect_sae_keys", "expire_sae_key"),
        (f"saeKeys/{key_id(1)}+1", f"saeKeys/{key_id(1)}", f"saeKeys/{key_id(2)}"),
        strict=True,
    ):
        assert f'"{method}"' in line
        assert f'"{resource}"' in line


def test_sae_keys_do_not_come_back_with_a_backup() -> None:
    """Else a key that was collected after the backup was made could be collected again."""
    old = seeded()
    old.create()
    draw(old, 1)
    fresh = World()
    fresh.do(c.RestorePart("restore", 0, tuple(snapshot(old.state)), {1: b"new commitment"}))
    restored = fresh.do(c.FinishRestore(request(), "restore", 1, "node-1", ("node-1",), False))
    assert restored.changed
    assert "payments" in fresh.state.keys
    assert not fresh.state.sae_keys
    assert collect(fresh, 1).code == "SAE_KEY_NOT_FOUND"
    assert World(restore(snapshot(fresh.state))).state == fresh.state


def test_a_cluster_that_holds_sae_keys_takes_no_backup() -> None:
    world = seeded()
    draw(world, 1)
    refused = world.do(c.RestorePart("restore", 0, ()))
    assert (refused.code, "1 SAE keys" in refused.message) == ("CLUSTER_NOT_EMPTY", True)
