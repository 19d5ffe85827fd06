"""What is read from the log and from snapshots is read strictly."""

import msgspec
import pytest

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
