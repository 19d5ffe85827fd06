"""Engines under faults, in one thread with a made-up clock and network.

Scenarios play the defects of PySyncObj that the engine mends, by the letters
of the docstrings there. Random schedules follow: each seed replays exactly; a
failing one is the test's id, and WORLD_SEEDS=12,34 runs it again.
"""

import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pysyncobj import syncobj
from tests.unit.qkms_node.consensus.raft_world import World

from qkms_node.consensus.proposal_book import Proposal
from qkms_node.consensus.replica import NoQuorum, OutcomeUnknown, Role

MakeWorld = Callable[..., World]
# Parallel test processes must agree on the names of the tests: the run's id is their dice.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(random.SystemRandom().random())
FRESH = zlib.crc32(RUN.encode()) % 10**6
SEEDS = [int(seed) for seed in os.environ.get("WORLD_SEEDS", "").split(",") if seed] or [
    *range(6),
    *range(FRESH, FRESH + 6),
]


def disturb(world: World, turns: int) -> None:
    """Clients and faults at random for some turns."""
    rng, names = world.rng, list(world.nodes)
    for _ in range(turns):
        up = [name for name in names if world.nodes[name].raft is not None]
        down = [name for name in names if name not in up]
        for _ in range(rng.randrange(6) if up else 0):
            world.propose(rng.choice(up), rng.choice((0.3, 2, 5)))
        if up and rng.random() < 0.5:
            world.read(rng.choice(up), rng.choice((0.3, 2)))
        fault = rng.random()
        if fault < 0.15:
            side = set(rng.sample(names, rng.randrange(1, len(names))))
            world.cut(side, set(names) - side)
        elif fault < 0.3:
            world.heal()
        elif fault < 0.4 and up:
            world.crash(rng.choice(up))
        elif fault < 0.55 and down:
            name = rng.choice(down)
            # A second empty disk before the first has caught up would be a lost majority.
            if rng.random() < 0.2 and not world.newcomers():
                world.wipe(name)
            world.start(name)
        elif fault < 0.62 and up:
            world.sleep(rng.choice(up), rng.random())
        world.run(rng.choice((0.01, 0.05, 0.2, 0.6)))


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWorld:
    """A world on this test's folder. A power cut loses what was not written, so syncing adds nothing but time."""
    clock = [0.0]
    monkeypatch.setattr(syncobj, "monotonicTime", lambda: clock[0])
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)

    def make(seed: int = 1, nodes: int = 3) -> World:
        return World(tmp_path, seed, lambda now: clock.__setitem__(0, now), nodes)

    return make


def leader_of(world: World) -> str:
    """Waits until all running members follow one leader, and its first entries are committed."""

    def found() -> str | None:
        rafts = [node.raft for node in world.nodes.values() if node.raft is not None]
        leaders = {raft.core.leader for raft in rafts}
        leader = leaders.pop() if len(leaders) == 1 else None
        settled = all(raft.core.commit_index == raft.core.last_index for raft in rafts if raft.core.id == leader)
        return leader if settled else None

    assert world.run(20, until=found)
    leader = found()
    assert leader is not None
    return leader


def others(world: World, *names: str) -> list[str]:
    return [name for name in world.nodes if name not in names]


def term_of(world: World, name: str) -> int:
    raft = world.nodes[name].raft
    assert raft is not None
    return raft.core.term


def done(world: World, proposal: Proposal) -> bytes:
    assert world.run(20, until=lambda: proposal.result is not None)
    assert isinstance(proposal.result, bytes), proposal.result
    return proposal.result


def write(world: World, name: str, count: int) -> None:
    for _ in range(count):
        done(world, world.propose(name))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_must_hold_holds_under_random_faults(make_world: MakeWorld, seed: int) -> None:
    world = make_world(seed, nodes=5 if seed % 4 == 3 else 3)
    disturb(world, turns=60)
    world.settle()
    assert world.acknowledged, "nothing was written"


def test_a_deposed_leaders_tail_is_neither_committed_nor_acknowledged(make_world: MakeWorld) -> None:
    """A: a snapshot chunk must not move the commit index over a tail that nobody verified."""
    world = make_world()
    deposed = leader_of(world)
    write(world, deposed, 3)
    world.cut({deposed}, set(others(world, deposed)))
    tail = [world.propose(deposed, timeout_s=3) for _ in range(5)]
    majority = others(world, deposed)
    assert world.run(5, until=lambda: term_of(world, majority[0]) > term_of(world, deposed))
    world.run(1)
    write(world, majority[0], 60)
    world.settle()
    assert any(event == "consensus.snapshot_installed" for name, event, _ in world.reports if name == deposed)
    assert not any(isinstance(proposal.result, bytes) for proposal in tail[:2])


def test_a_long_backlog_does_not_go_in_circles(make_world: MakeWorld) -> None:
    """C: entries are sent about once each, though they fill many messages."""
    world = make_world()
    world.limits = world.limits.__class__(**{**vars(world.limits), "snapshot_after_entries": 10**6})
    for name in list(world.nodes):
        world.crash(name)
        world.start(name)
    leader = leader_of(world)
    away = others(world, leader)[0]
    world.crash(away)
    before = world.sent_entries
    write(world, leader, 300)
    while_away = world.sent_entries - before
    world.start(away)
    behind = world.nodes[away]
    assert world.run(20, until=lambda: behind.machine is not None and behind.machine.count >= 300)
    assert world.sent_entries - before - while_away < 400


def test_a_member_that_was_cut_off_does_not_disturb_on_return(make_world: MakeWorld) -> None:
    """M: its election timeouts fired many times, and the term is what it was."""
    world = make_world()
    leader = leader_of(world)
    away = others(world, leader)[0]
    term = term_of(world, leader)
    world.cut({away}, set(others(world, away)))
    world.run(10)
    assert leader_of_majority(world, away) == leader
    world.heal()
    world.run(3)
    assert leader_of(world) == leader
    assert term_of(world, away) == term


def leader_of_majority(world: World, away: str) -> str | None:
    raft = world.nodes[others(world, away)[0]].raft
    assert raft is not None
    return raft.core.leader


def test_a_cut_off_leader_steps_down_and_says_so(make_world: MakeWorld) -> None:
    """J and K: no answer from local role; every call ends in time, and truthfully."""
    world = make_world()
    leader = leader_of(world)
    world.cut({leader}, set(others(world, leader)))
    first = world.propose(leader, timeout_s=1)
    read = world.read(leader, timeout_s=1)
    world.run(1.1)
    late = world.propose(leader, timeout_s=1)
    world.run(1.1)
    raft = world.nodes[leader].raft
    assert raft is not None
    assert raft.core.role is not Role.LEADER
    assert isinstance(first.result, OutcomeUnknown)
    assert isinstance(read.result, NoQuorum)
    assert isinstance(late.result, NoQuorum)


def test_a_rebuilt_member_does_not_vote_before_it_has_caught_up(make_world: MakeWorld) -> None:
    """Its old disk held an acknowledged entry that one other member alone still has."""
    world = make_world()
    leader = leader_of(world)
    keeper, lagging = others(world, leader)
    write(world, leader, 2)
    world.cut({lagging}, {leader, keeper})
    write(world, leader, 1)
    world.crash(leader)
    world.wipe(leader)
    world.start(leader)
    world.cut({keeper}, {leader, lagging})
    world.run(10)
    assert all(node.raft is None or node.raft.core.leader is None for node in world.nodes.values())
    world.settle()
    assert world.run(5, until=lambda: not world.newcomers())


def test_leadership_goes_to_the_member_named(make_world: MakeWorld) -> None:
    world = make_world()
    leader = leader_of(world)
    heir = others(world, leader)[1]
    raft = world.nodes[leader].raft
    assert raft is not None
    raft.leading.transfer(heir, world.now + 1)
    assert world.run(1, until=lambda: term_of(world, heir) > term_of(world, others(world, leader)[0]) - 1)
    assert world.run(2, until=lambda: raft.core.leader == heir)
    write(world, leader, 1)
