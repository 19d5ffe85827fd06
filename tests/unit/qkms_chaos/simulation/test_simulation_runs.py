"""Random seeds of every profile over the real engine, and that a seed is all there is to a run."""

import os
import subprocess
import sys
from random import SystemRandom

import pytest

from qkms_chaos.simulation.campaign import Tally, run_all, tasks
from qkms_chaos.simulation.faults import PROFILES
from qkms_chaos.simulation.report import replay_command
from qkms_chaos.simulation.run import Task, run

SEEDS_PER_PROFILE = {"3": 6, "5": 2}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("nodes", SEEDS_PER_PROFILE)
def test_fresh_random_seeds_break_nothing(nodes: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = SystemRandom().randrange(10**9)
    seeds = range(first, first + SEEDS_PER_PROFILE[nodes])
    with capsys.disabled():
        print(f"\nsimulation: {nodes} nodes, seeds {seeds.start}:{seeds.stop} of all profiles")
    tallies: dict[str, Tally] = run_all(tasks(PROFILES, int(nodes), seeds), None, lambda _: None)
    failed = [
        f"{outcome.violation}: {replay_command(outcome.task)}"
        for tally in tallies.values()
        for outcome in tally.failed
    ]
    assert not failed
    assert all(
        tally.acknowledged > 20 * tally.runs and tally.barriers > 5 * tally.runs for tally in tallies.values()
    )


def test_a_snapshot_may_replace_a_conflicting_tail_that_is_longer() -> None:
    """A deposed leader's log: its last entries conflict with the snapshot it is sent, and go with the rest."""
    assert run(Task("snapshots", 5, 430263464)).violation is None


def test_a_member_that_lost_its_disk_does_not_lead_before_it_has_caught_up() -> None:
    """It got a snapshot, stood for election, and lacked an entry that it had acknowledged before."""
    assert run(Task("lost-disk", 3, 1235)).violation is None


def test_a_write_after_healing_is_asked_anew_of_the_process_that_follows_a_dead_one() -> None:
    """A background write had failed on the full disk; the node stopped for it only after the healing."""
    assert run(Task("full-disk", 3, 992)).violation is None


def test_the_same_seed_does_the_same_whatever_strings_hash_to() -> None:
    program = (
        "from hashlib import sha256; from qkms_chaos.simulation.run import *;"
        "print(sha256(repr(run(Task('mixed', 5, 7), trace=True).said).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_profiles_do_what_they_are_named_for() -> None:
    """The faults take place: what they cause is in the timelines."""
    for profile, sign in {
        "kill": "killed",
        "kill-at-write": "killed at a write",
        "power-loss": "lost power",
        "snapshots": "snapshot_installed",
        "full-disk": "disk_low",
        "partitions": "stopped_leading",
        "pause": "stopped_leading",
        "slow-clocks": "stopped_leading",
        "membership": "removed",
        "membership-crashes": "snapshot_installed",
        "lost-disk": "lost its disk",
    }.items():
        outcomes = (run(Task(profile, 3, seed), trace=True) for seed in range(12))
        assert any(sign in f"{what} {details}" for o in outcomes for _, _, _, what, details in o.said), profile
