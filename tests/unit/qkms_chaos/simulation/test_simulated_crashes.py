"""The real journal and snapshot store on a simulated disk: killed at every change, then without power."""

import random
from collections.abc import Iterator

import pytest

from qkms_chaos.simulation.disk import Killed
from qkms_chaos.simulation.library import simulated
from qkms_chaos.simulation.mended import MendedNode
from qkms_chaos.simulation.system_calls import SimulatedPath, path_on
from qkms_chaos.simulation.world import World
from qkms_node.consensus.journal import DurableJournal
from qkms_node.consensus.settings import Limits
from qkms_node.consensus.snapshot_file import Meta
from qkms_node.consensus.snapshot_store import SnapshotStore

NAMES = ("node-1", "node-2", "node-3")


@pytest.fixture
def world() -> Iterator[World]:
    world = World("crashes", NAMES, NAMES, Limits(), MendedNode, trace=False)
    with simulated(world):
        yield world


def _journal(root: SimulatedPath) -> DurableJournal:
    return DurableJournal(root / "journal", "cluster", "node-1", segment_bytes=300)


@pytest.mark.parametrize("changes", range(1, 40))
def test_what_a_journal_flushed_survives_a_kill_and_then_a_power_loss(world: World, changes: int) -> None:
    disk, root = world.disks["node-1"], path_on(world.calls, "node-1")
    flushed = 1
    disk.changes_left = changes
    try:
        journal = _journal(root)
        for index in range(2, 30):
            journal.add(b"x" * 40, index, 1)
            journal.flush()
            flushed = index
    except Killed:
        disk.dead = False
    disk.changes_left = None
    journal = _journal(root)
    assert journal[-1][1] >= flushed
    journal.add(b"y", journal[-1][1] + 1, 1)
    journal.flush()
    flushed = journal[-1][1]
    disk.lose_power(random.Random(changes))
    assert _journal(root)[-1][1] >= flushed


@pytest.mark.parametrize("changes", range(1, 13))
def test_a_snapshot_that_was_loaded_survives_a_power_loss(world: World, changes: int) -> None:
    disk, root = world.disks["node-1"], path_on(world.calls, "node-1")
    meta = Meta(cluster_id="cluster", index=7, term=1, time_ms=0)
    disk.changes_left = changes
    try:
        SnapshotStore(root / "snapshots", "cluster").write(meta, [b"state"])
    except Killed:
        disk.dead = False
    disk.changes_left = None
    loaded = SnapshotStore(root / "snapshots", "cluster").open_newest()
    disk.lose_power(random.Random(0))
    reader = SnapshotStore(root / "snapshots", "cluster").open_newest()
    assert (loaded is None) == (reader is None)
    if reader is not None:
        assert reader.finish().meta == meta


def test_a_founding_that_was_interrupted_is_taken_up_again() -> None:
    """The first leader and one follower hold an entry that is not committed when all are killed."""
    world = World("founding", NAMES, NAMES, Limits(), MendedNode, trace=False)
    with simulated(world):
        for node in world.nodes.values():
            node.start()
        while sum(node.entries[-1][1] > 1 for node in world.nodes.values()) < 2:
            world.run_until(world.agenda.now + 0.0001)
        world.network.blocked = {(a, b) for a in NAMES for b in NAMES if a != b}
        world.run_until(world.agenda.now + 0.5)
        for node in world.nodes.values():
            node.kill("killed")
            node.start()
        world.network.unblock()
        world.run_until(world.agenda.now + 4.0)
    assert world.oracles.violation is None
    assert world.leader() is not None
    assert world.oracles.committed_top > 1
