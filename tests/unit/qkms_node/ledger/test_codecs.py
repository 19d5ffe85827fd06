"""What is read from the log and from snapshots is read strictly."""

import msgspec
import pytest
from msgspec.structs import replace

from ledger_world import request, seeded
from qkms_node.ledger import commands as c
from qkms_node.ledger.snapshot import SnapshotRejected, restore, snapshot
from qkms_node.ledger.state import EVENT_HISTORY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04K\x01.",
        msgspec.msgpack.encode({"t": "unheard_of"}),
        msgspec.msgpack.encode({"t": "advance_time", "x": 1}),
    ],
)
def test_a_command_of_another_kind_stops_the_node(data: bytes) -> None:
    with pytest.raises(c.UnknownCommand):
        c.decode_command(data)


def test_outcomes_round_trip() -> None:
    world = seeded()
    outcome = world.create()
    assert c.decode_outcome(c.encode_outcome(outcome)) == outcome


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b"garbage"],
        [msgspec.msgpack.encode({"format": 99})],
        [msgspec.msgpack.encode({"format": 1})],
    ],
)
def test_a_snapshot_of_another_format_is_refused(chunks: list[bytes]) -> None:
    with pytest.raises(SnapshotRejected):
        restore(chunks)


def test_a_snapshot_with_an_unknown_table_is_refused() -> None:
    chunks = [*snapshot(seeded().state), msgspec.msgpack.encode(("novelty", 1, 2))]
    with pytest.raises(SnapshotRejected):
        restore(chunks)


@pytest.mark.parametrize(
    ("name", "value"),
    [("revision", "7"), ("revision", -1), ("time_ms", None), ("audit_head", b"short"), ("first_event", 2**64 - 1)],
)
def test_a_snapshot_whose_scalars_are_of_another_kind_is_refused(name: str, value: object) -> None:
    """Else the next command would meet them, on every node."""
    header, *rows = snapshot(seeded().state)
    altered = {**msgspec.msgpack.decode(header), name: value}
    with pytest.raises(SnapshotRejected):
        restore([msgspec.msgpack.encode(altered), *rows])


def test_a_kept_answer_that_cannot_be_read_is_an_unknown_outcome() -> None:
    """It may have come with a backup: repeating its request must not stop every node."""
    world = seeded()
    world.create(tag="once")
    [(identifier, kept)] = world.state.requests.items()
    for outcome in (b"", b"\xc1", b"\x91" * 100_000):
        world.state.requests[identifier] = replace(kept, outcome=outcome)
        before = world.state.revision
        repeated = world.create(tag="once")
        assert (repeated.code, repeated.changed, world.state.revision) == ("OUTCOME_UNKNOWN", False, before)


def test_event_history_is_bounded_and_says_where_it_begins() -> None:
    world = seeded()
    world.create()
    for _ in range(EVENT_HISTORY // 2 + 5):
        world.do(c.DisableVersion(request(), "payments", 1))
        world.do(c.EnableVersion(request(), "payments", 1))
    assert len(world.state.events) == EVENT_HISTORY
    assert world.state.events[0].revision >= world.state.first_event > 1


def test_a_schedule_of_another_kind_stops_the_node() -> None:
    world = seeded()
    world.state.schedule(world.time_ms, "novelty", "payments")
    with pytest.raises(c.UnknownCommand, match="novelty"):
        world.do(c.AdvanceTime())
