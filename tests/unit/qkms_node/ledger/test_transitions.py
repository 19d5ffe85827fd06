"""The life of a key version as one table: what is absent is refused, and the documents show the same table."""

import re
from pathlib import Path

import pytest

from ledger_world import HOUR_MS, World, request, seeded
from qkms_node.ledger import commands as c
from qkms_node.ledger.records import VersionState as S
from qkms_node.ledger.snapshot import digest
from qkms_node.ledger.transitions import DECRYPTS, ENCRYPTS, VERSION_TRANSITIONS, Step, next_state

ARCHITECTURE = Path(__file__).parents[4] / "ARCHITECTURE.md"
STATES = list(S)

# The client commands whose legality the table alone decides, for a version that is not primary.
COMMANDS: dict[Step, type[c.Mutation]] = {
    Step.DISABLE: c.DisableVersion,
    Step.ENABLE: c.EnableVersion,
    Step.COMPROMISE: c.CompromiseVersion,
    Step.SCHEDULE_DESTROY: c.DestroyVersion,
    Step.RESTORE: c.RestoreVersion,
    Step.ABORT: c.AbortVersion,
}


def with_version_in(state: S) -> tuple[World, int]:
    """A key with an active primary, and beside it a version in `state`, reached by commands alone."""
    world = seeded()
    world.create()
    match state:
        case S.ACTIVE:
            return world, 1
        case S.PRE_ACTIVATION:
            world.stage_version()
            return world, 2
        case _:
            world.rotate(1)
    steps: dict[S, list[c.AnyCommand]] = {
        S.DEACTIVATED: [],
        S.SUSPENDED: [c.DisableVersion(request(), "payments", 1)],
        S.COMPROMISED: [c.CompromiseVersion(request(), "payments", 1, "lost laptop")],
        S.DESTROY_SCHEDULED: [c.DestroyVersion(request(), "payments", 1, HOUR_MS)],
        S.DESTROYED: [c.DestroyVersion(request(), "payments", 1, 0), c.AdvanceTime()],
    }
    for command in steps[state]:
        world.do(command)
    return world, 1


def command_of(step: Step, version: int) -> c.AnyCommand:
    match step:
        case Step.SCHEDULE_DESTROY:
            return c.DestroyVersion(request(), "payments", version, HOUR_MS)
        case Step.COMPROMISE:
            return c.CompromiseVersion(request(), "payments", version, "why")
        case Step.ABORT:
            return c.AbortVersion(request(), "payments", version, "why")
        case Step.DISABLE:
            return c.DisableVersion(request(), "payments", version)
        case Step.ENABLE:
            return c.EnableVersion(request(), "payments", version)
        case _:
            return c.RestoreVersion(request(), "payments", version)


@pytest.mark.parametrize("state", STATES, ids=lambda s: s.name)
def test_every_state_is_reached_by_commands(state: S) -> None:
    world, version = with_version_in(state)
    assert world.state.versions["payments", version].state is state


@pytest.mark.parametrize("step", COMMANDS, ids=lambda s: s.value)
@pytest.mark.parametrize("state", STATES, ids=lambda s: s.name)
def test_a_command_does_what_the_table_says_and_else_nothing(state: S, step: Step) -> None:
    world, version = with_version_in(state)
    if state is S.ACTIVE and step is Step.ENABLE:
        step = Step.ENABLE_PRIMARY
    if state is S.ACTIVE and step is Step.SCHEDULE_DESTROY:
        assert world.do(command_of(step, version)).code == "VERSION_IS_PRIMARY"
        return
    target = next_state(state, step)
    before = digest(world.state)
    outcome = world.do(command_of(Step.ENABLE if step is Step.ENABLE_PRIMARY else step, version))
    if target is None:
        assert (outcome.code, outcome.metadata) == ("ILLEGAL_TRANSITION", {"state": state.name})
        assert digest(world.state) == before
        return
    assert outcome.code == ""
    assert world.state.versions["payments", version].state is target
    assert outcome.changed or outcome.note


def test_destroyed_is_final_and_nothing_returns_to_waiting() -> None:
    assert {t for (s, _), t in VERSION_TRANSITIONS.items() if s is S.DESTROYED} == {S.DESTROYED}
    assert S.PRE_ACTIVATION not in VERSION_TRANSITIONS.values()


def test_a_compromised_version_never_protects_again() -> None:
    reached, frontier = {S.COMPROMISED}, {S.COMPROMISED}
    while frontier:
        frontier = {
            target
            for (state, step), target in VERSION_TRANSITIONS.items()
            # A compromised version is restored by its own step.
            if state in frontier and step is not Step.RESTORE
        } - reached
        reached |= frontier
    assert not reached & ENCRYPTS


def test_only_active_protects_and_staged_does_nothing() -> None:
    assert frozenset({S.ACTIVE}) == ENCRYPTS
    assert ENCRYPTS < DECRYPTS
    assert S.PRE_ACTIVATION not in DECRYPTS | ENCRYPTS


def test_the_diagram_in_the_architecture_is_the_table() -> None:
    drawn = set(re.findall(r"^ *([A-Z_]+) --> ([A-Z_]+): ([a-z_]+)$", ARCHITECTURE.read_text(), re.MULTILINE))
    table = {
        (state.name, target.name, step.value)
        for (state, step), target in VERSION_TRANSITIONS.items()
        if state is not target
    }
    assert drawn == table
