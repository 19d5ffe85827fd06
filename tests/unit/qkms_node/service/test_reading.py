"""A right that is withdrawn while a read waits for a fresh ledger is not there when it is answered."""

from contextlib import nullcontext

import pytest

from ledger_world import World, request, seeded
from qkms_node.access.guard import Guard
from qkms_node.errors import QkmsError
from qkms_node.ledger import commands as c
from qkms_node.ledger.access_records import RuleRecord
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Level, Wanted
from qkms_node.service.reading import admit

RULE = RuleRecord(("keys.get",))


class Catching(Freshness):
    """Stands for the wait: what happened elsewhere in the meantime arrives with it."""

    def __init__(self, world: World, *arriving: c.AnyCommand) -> None:
        self._world = world
        self._arriving = arriving

    async def ensure(self, wanted: Wanted) -> Wanted:
        for command in self._arriving:
            assert self._world.do(command).changed
        return wanted


def allowed() -> tuple[World, Guard]:
    world = seeded()
    assert world.do(c.CreatePolicy(request(), "p", "", (RULE,))).changed
    assert world.do(c.CreateRole(request(), "r", "", ("alice",), ("p",))).changed
    return world, Guard((), view=lambda: nullcontext(world.state))


async def test_a_right_that_stays_is_enough() -> None:
    world, guard = allowed()
    await admit(guard, Catching(world), LINEARIZABLE, "alice", "keys.get", "k")


async def test_a_right_withdrawn_during_the_wait_is_gone() -> None:
    world, guard = allowed()
    catching = Catching(world, c.DeleteRole(request(), "r", 0))
    with pytest.raises(QkmsError, match=r"alice may not keys\.get"):
        await admit(guard, catching, LINEARIZABLE, "alice", "keys.get", "k")


BOUNDED = Wanted(Level.BOUNDED, max_staleness_ms=1_000)


async def test_a_stranger_causes_no_wait_at_a_bounded_level() -> None:
    world, guard = allowed()
    catching = Catching(world, c.DeleteRole(request(), "r", 0))
    with pytest.raises(QkmsError, match=r"eve may not keys\.get"):
        await admit(guard, catching, BOUNDED, "eve", "keys.get", "k")
    assert "r" in world.state.roles


@pytest.mark.parametrize("wanted", [LINEARIZABLE, Wanted(Level.AT_LEAST, revision=1)], ids=str)
async def test_a_right_that_arrives_with_the_exact_ledger_counts(wanted: Wanted) -> None:
    world, guard = allowed()
    catching = Catching(world, c.CreateRole(request(), "s", "", ("eve",), ("p",)))
    await admit(guard, catching, wanted, "eve", "keys.get", "k")


async def test_a_stranger_stays_one_over_the_exact_ledger() -> None:
    world, guard = allowed()
    with pytest.raises(QkmsError, match=r"eve may not keys\.get"):
        await admit(guard, Catching(world), LINEARIZABLE, "eve", "keys.get", "k")
