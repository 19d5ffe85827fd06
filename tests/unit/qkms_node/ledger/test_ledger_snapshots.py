"""Snapshots and the digest of the ledger, over random commands."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_world import HOUR_MS, NODES, World, new, request, seeded
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import AnswerRecord, OfferRecord
from qkms_node.ledger.snapshot import TABLES, SnapshotRejected, digest, restore, snapshot, split
from qkms_node.ledger.state import State
from qkms_node.ledger.tables import Sum, encode, prefix_of

OFFER = OfferRecord(b"m", b"x", b"n")
ANSWER = AnswerRecord(b"ct", b"x", b"n")
Act = tuple[int, str, int]


def act(world: World, kind: int, name: str, number: int) -> None:
    """One command, as likely refused as not."""
    tag = f"{kind} {name} {number}"
    key = world.state.keys.get(name)
    versions = key.version_count if key else 0
    epoch = world.state.last_epoch
    choices: tuple[Callable[[], object], ...] = (
        lambda: world.create(name, tag),
        lambda: world.create(name),
        lambda: world.do(c.RotateKey(request(), name, versions, new(versions + 1, world.state.active_epoch))),
        lambda: world.do(c.DisableVersion(request(tag), name, number)),
        lambda: world.do(c.EnableVersion(request(), name, number)),
        lambda: world.do(c.DestroyVersion(request(), name, number, number * HOUR_MS)),
        lambda: world.do(c.RestoreVersion(request(), name, number)),
        lambda: world.do(c.OpenSession(request(), name, "bob", 1, OFFER, 0, number * HOUR_MS)),
        lambda: world.do(c.AnswerSession(request(principal="bob"), name, ANSWER)),
        lambda: world.do(c.ConfirmSession(request(), name, b"tag")),
        lambda: world.do(c.CloseSession(request(tag), name)),
        lambda: world.do(c.RegisterNode(NODES[number - 1], b"m%d" % number, b"x")),
        lambda: world.do(c.RequestRoot(request(), world.state.active_epoch)),
        lambda: world.stage(epoch + 1, grade=Grade.PQC),
        lambda: world.stage(epoch + 1),
        lambda: world.confirm(epoch, NODES[number - 1]),
        lambda: world.do(c.ActivateRoot(epoch)),
        lambda: world.do(c.AbortRoot(epoch, "none")),
        lambda: world.do(c.RefuseRoot(world.state.active_epoch, "no keys")),
        lambda: world.do(c.AdvanceTime(), later_ms=number * HOUR_MS),
        lambda: world.do(c.AdvanceTime(), later_ms=number * 12 * HOUR_MS),
        lambda: world.do(
            c.DrawSaeKeys(
                request(), "x", ("y", "z")[:number], 256, epoch, (c.NewSaeKey(name, b"s"),), 9, number * HOUR_MS
            )
        ),
        lambda: world.do(c.CollectSaeKeys(request(tag), "x", "yz"[number % 2], (name,))),
    )
    choices[kind % len(choices)]()


ACTS = st.lists(st.tuples(st.integers(0, 21), st.sampled_from("abc"), st.integers(1, 3)), max_size=60)


def acted(acts: list[Act]) -> World:
    world = seeded()
    for one in acts:
        act(world, *one)
    return world


def sum_of(state: State) -> Sum:
    """The sum as it follows from what is there."""
    total = Sum()
    rows: list[tuple[str, Any]] = [(name, item) for name in TABLES for item in getattr(state, name).items()]
    rows += [("events", event) for event in state.events] + [("due", due) for due in state.due]
    for name, row in rows:
        total.add(prefix_of(name), row)
    return total


@settings(deadline=None)
@given(ACTS)
def test_a_restored_state_is_equal_and_goes_on_equally(acts: list[Act]) -> None:
    world = acted(acts)
    restored = World(restore(snapshot(world.state)), world.time_ms)
    assert restored.state == world.state
    assert digest(restored.state) == digest(world.state)
    assert list(restored.state.requests) == list(world.state.requests)
    for kind in range(20):
        for one in (world, restored):
            one.do(c.AdvanceTime(), later_ms=5 * HOUR_MS)
        for one in (world, restored):
            # The commands draw fresh requests, so both are given the same ones.
            one.do(c.DisableVersion(request(f"after {kind}"), "abc"[kind % 3], 1))
            one.do(c.OpenSession(request(f"open {kind}"), f"s{kind}", "bob", 1, OFFER, 0, HOUR_MS))
    assert digest(restored.state) == digest(world.state)


@settings(deadline=None)
@given(ACTS)
def test_the_sum_is_that_of_the_records_that_are_there(acts: list[Act]) -> None:
    state = acted(acts).state
    assert state.total == sum_of(state)


@settings(deadline=None)
@given(ACTS, ACTS, st.integers(1, 5))
def test_a_snapshot_is_the_state_at_its_moment_however_it_is_read(
    before: list[Act], after: list[Act], at_once: int
) -> None:
    world = acted(before)
    wanted = digest(world.state), list(snapshot(world.state))
    chunks = snapshot(world.state)
    taken: list[bytes] = []
    for one in after:
        act(world, *one)
        taken += itertools.islice(chunks, at_once)
    taken += chunks
    assert (digest(restore(taken)), taken) == wanted


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bytes):
        return value + b"."
    if isinstance(value, str):
        return value + "."
    if isinstance(value, tuple):
        return (*value, "more")
    if isinstance(value, dict):
        return {**value, "more": "more"}
    return value + 1


@settings(max_examples=40, deadline=None)
@given(ACTS, st.data())
def test_the_digest_differs_when_any_one_record_does(acts: list[Act], data: st.DataObject) -> None:
    state = acted(acts).state
    before = digest(state)
    name = data.draw(st.sampled_from([n for n in TABLES if getattr(state, n)]))
    table = getattr(state, name)
    key = data.draw(st.sampled_from(list(table)))
    record = table[key]
    if isinstance(record, msgspec.Struct):
        fields = [
            f for f in record.__struct_fields__ if type(getattr(record, f)) in (bytes, str, int, tuple, dict)
        ]
        which = data.draw(st.sampled_from(fields))
        other = msgspec.structs.replace(record, **{which: changed(getattr(record, which))})
    else:
        other = record + 1
    table[key] = other
    assert digest(state) != before
    table[key] = record
    assert digest(state) == before
    if name != "requests":
        del table[key]
        assert digest(state) != before


def test_the_digest_sees_events_and_what_is_due() -> None:
    state = acted([(1, "a", 1), (2, "a", 1), (5, "a", 1)]).state
    assert state.events
    assert state.due
    digests = {digest(state)}
    state.schedule(1, "destroy", "a", 1)
    digests.add(digest(state))
    state.take_due()
    assert digest(state) in digests
    state.emit(state.events[0].type, "keys/a")
    digests.add(digest(state))
    assert len(digests) == 3


def rows_changed(change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    """A snapshot's chunks with the rows of one table changed."""
    header, *chunks = snapshot(acted([(1, "a", 1), (1, "b", 1), (2, "a", 1)]).state)
    first, *others = chunks
    name, rows = msgspec.msgpack.decode(first, type=tuple[str, list[msgspec.Raw]])
    return [header, encode((name, [msgspec.Raw(row) for row in change([bytes(row) for row in rows])])), *others]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[1:],
        lambda rows: [*rows, rows[0]],
        lambda rows: [rows[0].replace(b"AES_256_GCM", b"AES_256_GCN"), *rows[1:]],
    ],
    ids=["lost", "doubled", "changed"],
)
def test_a_stream_with_other_rows_than_its_header_counts_is_refused(
    change: Callable[[list[bytes]], list[bytes]],
) -> None:
    assert restore(rows_changed(lambda rows: rows)).keys
    with pytest.raises(SnapshotRejected):
        restore(rows_changed(change))


def test_a_stream_that_ends_early_is_refused() -> None:
    chunks = list(snapshot(acted([(1, "a", 1)]).state))
    with pytest.raises(SnapshotRejected):
        restore(chunks[:-1])


@given(ACTS, st.integers(80, 2_000))
@settings(max_examples=20, deadline=None)
def test_chunks_are_cut_to_any_size_and_restore_the_same(acts: list[Act], limit: int) -> None:
    state = acted(acts).state
    chunks = list(snapshot(state))
    pieces = [piece for chunk in chunks for piece in split(chunk, limit)]
    assert digest(restore(pieces)) == digest(state)
    largest = max(len(piece) for chunk in chunks for piece in split(chunk, 1))
    assert all(len(piece) <= max(limit, largest) for piece in pieces[1:])
    assert list(split(b"\xc1 no chunk", 4)) == [b"\xc1 no chunk"]


def test_a_snapshot_of_before_a_scalar_was_there_is_read() -> None:
    header, *rows = snapshot(seeded().state)
    said = msgspec.msgpack.decode(header)
    del said["root_needed"]
    assert restore([encode(said), *rows]).active_epoch == 1
